//! The store keeps everything that it was given, and refuses damaged proofs and those of another
//! job.

use std::fs;

use myriad_core::Arities;
use myriad_engine::Plan;

use super::*;

fn accepted() -> Accepted {
    // A root has no constructor outside the engine, and needs none: it decodes from its own
    // encoding.
    let root = "[1,2,3,4,5,6,7,8]";
    let json = format!(
        r#"{{"initial_pc":0,"final_pc":4,"initial_root":{root},"final_root":{root},"exit_code":null}}"#
    );
    Accepted {
        boundary: serde_json::from_str(&json).unwrap(),
        proof: vec![1, 2, 3],
    }
}

fn open(data: &Path, job: u8) -> Result<Store, StoreError> {
    Store::open(data, JobId([job; 32]), open_blobs(data, 1 << 20).unwrap())
}

#[test]
fn proofs_are_found_again_unless_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let key = TaskKey::segment(0, 10);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.get(key).unwrap(), None);
    let blob = store.put(key, &accepted()).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()));
    assert_eq!(store.get(TaskKey::segment(0, 11)).unwrap(), None);
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()), "after another start");

    let name = blob.blob.to_string();
    let path = dir
        .path()
        .join("blobs")
        .join(&name[..2])
        .join(format!("{name}.blob"));
    fs::write(path, [1, 2, 4]).unwrap();
    assert_eq!(store.get(key).unwrap(), None);
    assert!(
        store.entries([((), key)].into_iter()).unwrap().is_empty(),
        "it was removed"
    );
    store.put(key, &accepted()).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()));
}

#[test]
fn a_refuted_proof_is_forgotten_and_one_that_took_its_place_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let key = TaskKey::segment(0, 10);
    let store = open(dir.path(), 7).unwrap();
    let refuted = store.put(key, &accepted()).unwrap().blob;
    store.forget(key, myriad_core::Blob([9; 32])).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()), "it is another one");
    store.forget(key, refuted).unwrap();
    assert_eq!(store.get(key).unwrap(), None);
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.get(key).unwrap(), None, "after another start");
    store.forget(key, refuted).unwrap();
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    assert!(matches!(open(dir.path(), 7), Err(StoreError::Busy { .. })));
    assert!(open(dir.path(), 8).is_ok());
    drop(store);
    assert!(open(dir.path(), 7).is_ok());
}

#[test]
fn newer_and_damaged_journals_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    let newer = |transaction: &redb::WriteTransaction| {
        transaction
            .open_table(META)?
            .insert(VERSION_KEY, JOURNAL_VERSION + 1)?;
        Ok(())
    };
    store.write(newer).unwrap();
    let path = store.path.clone();
    drop(store);
    let error = open(dir.path(), 7).err().unwrap();
    assert!(
        error.to_string().contains("version 4, and this build reads 3"),
        "{error}"
    );

    fs::write(&path, vec![7; 10_000]).unwrap();
    let error = open(dir.path(), 7).err().unwrap();
    assert!(error.to_string().contains("journal.redb"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(open_blobs(file.path(), 1), Err(StoreError::Blobs(_))));
    let blobs = tempfile::tempdir().unwrap();
    let blobs = open_blobs(blobs.path(), 1).unwrap();
    assert!(matches!(
        Store::open(file.path(), JobId([7; 32]), blobs),
        Err(StoreError::Write { .. })
    ));
}

/// A journal as builds of version 1 left it: they had no other tables.
#[test]
fn what_an_older_version_accepted_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let key = TaskKey::segment(0, 10);
    let store = open(dir.path(), 7).unwrap();
    store.put(key, &accepted()).unwrap();
    let older = |transaction: &redb::WriteTransaction| {
        transaction.open_table(META)?.insert(VERSION_KEY, 1)?;
        transaction.delete_table(PLANNED)?;
        transaction.delete_table(LEASES)?;
        Ok(())
    };
    store.write(older).unwrap();
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.get(key).unwrap(), Some(accepted()));
    assert_eq!(store.planned().unwrap(), None);
    assert_eq!(store.leases().unwrap(), []);
    let version = store.read(|transaction| {
        Ok(transaction
            .open_table(META)?
            .get(VERSION_KEY)?
            .map(|version| version.value()))
    });
    assert_eq!(version.unwrap(), Some(JOURNAL_VERSION));
}

/// Plans of version 2 have another encoding, which could pass for one of today.
#[test]
fn a_plan_of_an_older_version_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let key = TaskKey::segment(0, 10);
    let store = open(dir.path(), 7).unwrap();
    store.put(key, &accepted()).unwrap();
    store.set_planned(&planned(1)).unwrap();
    store.set_truth(&[accepted().boundary]).unwrap();
    let held = (TaskId::Segment(0), Peer([1; 32]));
    store.note_leases(&[held], &[]).unwrap();
    let older = |transaction: &redb::WriteTransaction| {
        transaction.open_table(META)?.insert(VERSION_KEY, OTHER_PLANS)?;
        Ok(())
    };
    store.write(older).unwrap();
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.planned().unwrap(), None);
    assert_eq!(store.truth().unwrap(), None);
    assert_eq!(store.leases().unwrap(), []);
    assert_eq!(store.get(key).unwrap(), Some(accepted()));
    store.set_planned(&planned(1)).unwrap();
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.planned().unwrap(), Some(planned(1)), "it is migrated once");
}

fn planned(memory_bytes: u64) -> Planned {
    Planned {
        memory_bytes,
        engine: [1; 32],
        arities: Arities {
            leaf: 1,
            internal_for_leaf: 2,
            internal_recursive: 2,
        },
        plan: Plan {
            segments: Vec::new(),
            public_values: vec![1, 2, 3],
            instructions: 10,
        },
    }
}

#[test]
fn plan_truth_and_leases_survive_a_restart_and_go_with_their_plan() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.planned().unwrap(), None);
    store.set_planned(&planned(1)).unwrap();
    store.set_truth(&[accepted().boundary]).unwrap();
    let held = |task, peer| (TaskId::Segment(task), Peer([peer; 32]));
    store.note_leases(&[held(0, 1), held(1, 2)], &[]).unwrap();
    store.note_leases(&[held(1, 3)], &[held(0, 1)]).unwrap();
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.planned().unwrap(), Some(planned(1)));
    assert_eq!(store.truth().unwrap(), Some(vec![accepted().boundary]));
    assert_eq!(store.leases().unwrap(), [held(1, 2), held(1, 3)]);
    store.set_planned(&planned(2)).unwrap();
    assert_eq!(store.truth().unwrap(), None);
    assert_eq!(store.leases().unwrap(), []);
}

#[test]
fn a_plan_that_is_being_made_keeps_its_holders_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    let held = |task, peer| (TaskId::Segment(task), Peer([peer; 32]));
    store.set_planned(&planned(1)).unwrap();
    store.set_truth(&[accepted().boundary]).unwrap();
    store.note_leases(&[held(0, 1)], &[]).unwrap();
    let growing = Growing {
        memory_bytes: 1,
        engine: [1; 32],
        from: 8,
    };
    assert_eq!(store.growing().unwrap(), None);
    // An earlier plan stays until this one is there, for a run that wants that one again.
    store.set_growing(growing).unwrap();
    assert_eq!(store.planned().unwrap(), Some(planned(1)));
    assert_eq!(store.truth().unwrap(), Some(vec![accepted().boundary]));
    assert_eq!(store.leases().unwrap(), [], "they were of that one's tasks");
    store.note_leases(&[held(0, 2)], &[]).unwrap();
    drop(store);
    let store = open(dir.path(), 7).unwrap();
    assert_eq!(store.growing().unwrap(), Some(growing));
    assert_eq!(store.growing_for(1, [1; 32]).unwrap(), Some(growing));
    assert_eq!(store.growing_for(2, [1; 32]).unwrap(), None);
    assert_eq!(store.growing_for(1, [2; 32]).unwrap(), None);
    store.set_growing(growing).unwrap();
    assert_eq!(store.leases().unwrap(), [held(0, 2)], "it is the same one");
    store.settle_planned(&planned(2)).unwrap();
    assert_eq!(store.planned().unwrap(), Some(planned(2)));
    assert_eq!(store.truth().unwrap(), None);
    assert_eq!(store.leases().unwrap(), [held(0, 2)]);
    assert_eq!(store.growing().unwrap(), None);
    store.forget_growing().unwrap();
    assert_eq!(store.leases().unwrap(), [held(0, 2)]);
    store.set_growing(growing).unwrap();
    store.note_leases(&[held(0, 3)], &[]).unwrap();
    store.set_growing(Growing { from: 9, ..growing }).unwrap();
    assert_eq!(store.leases().unwrap(), [], "its segments may be others");
    store.note_leases(&[held(0, 4)], &[]).unwrap();
    store.forget_growing().unwrap();
    assert_eq!(store.growing().unwrap(), None);
    assert_eq!(
        store.leases().unwrap(),
        [],
        "they are not of the plan that is there"
    );
    assert_eq!(store.planned().unwrap(), Some(planned(2)));
}

/// A power cut in the middle of a commit: some pages of the file are new, the others old.
#[test]
fn a_torn_write_loses_nothing_that_was_durable() {
    const PAGE: usize = 4096;
    const JOB: JobId = JobId([7; 32]);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7).unwrap();
    let accept = |number: u8| {
        let proof = BlobRef::of(&[number]);
        let key = TaskKey([number; 32]);
        store.accept(key, proof, accepted().boundary).unwrap();
        (fs::read(&store.path).unwrap(), store.journal.run(named).unwrap())
    };
    (0..20).for_each(|number| drop(accept(number)));
    let (old, durable) = accept(20);
    let (new, after) = accept(21);
    assert!(old.len() == new.len() && durable.len() + 1 == after.len());

    let pages = (0..new.len())
        .step_by(PAGE)
        .map(|start| start..new.len().min(start + PAGE));
    let changed: Vec<_> = pages
        .filter(|page| old[page.clone()] != new[page.clone()])
        .collect();
    assert!((2..=12).contains(&changed.len()), "{} pages", changed.len());
    for written in 0..1_u32 << changed.len() {
        let mut torn = old.clone();
        for (bit, page) in changed.iter().enumerate() {
            if written >> bit & 1 == 1 {
                torn[page.clone()].copy_from_slice(&new[page.clone()]);
            }
        }
        let other = tempfile::tempdir().unwrap();
        fs::create_dir_all(job_dir(other.path(), JOB)).unwrap();
        fs::write(journal_path(other.path(), JOB), torn).unwrap();
        let found = open(other.path(), 7).unwrap().journal.run(named).unwrap();
        assert!(found == durable || found == after, "pages {written:b}: {found:?}");
    }
}
