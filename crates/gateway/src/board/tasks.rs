//! The tasks of a job: which are done, who is at which, and every attempt.
//!
//! A task is done as long as a proof of it counts; otherwise it is running while a machine is at
//! it. A reader that has a [`Tasks`] document and the events after it comes to the same.

use std::collections::{BTreeMap, VecDeque};

use myriad_api::{Arities, Attempt, AttemptEnd, Machine, Task, TaskName, TaskState, Tasks};
use myriad_core::{NodeId, TaskId};

/// Most attempts that are remembered: the latest.
pub(super) const ATTEMPTS_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct TaskBook {
    segments: u32,
    arities: Option<Arities>,
    /// The tasks that are done: the machine and the bytes of the proof, or none if an earlier run
    /// has left it.
    done: BTreeMap<TaskId, Option<(u32, u64)>>,
    /// The attempts that go on, by their numbers. Those at one task are beside each other.
    open: BTreeMap<(TaskId, u32), u64>,
    /// The tasks of `open` that are not done.
    running: u64,
    attempts: VecDeque<Row>,
    /// The number of the first of `attempts`.
    first: u64,
    machines: BTreeMap<u32, (String, bool)>,
    /// Tasks that an earlier run has done, and whose proofs were of no use.
    remade: std::collections::BTreeSet<TaskId>,
}

#[derive(Debug)]
struct Row {
    machine: u32,
    task: TaskId,
    start_ms: u64,
    end: Option<(u64, AttemptEnd)>,
}

impl TaskBook {
    /// So many segments are known.
    pub(super) fn cut(&mut self, segments: u32) {
        self.segments = segments;
    }

    pub(super) fn planned(&mut self, segments: u32, arities: Arities) {
        (self.segments, self.arities) = (segments, Some(arities));
    }

    /// An earlier run has left the proofs of these.
    pub(super) fn kept(&mut self, tasks: &[TaskId]) {
        for &task in tasks {
            // What is known of it already is newer.
            if !self.remade.contains(&task) && !self.is_open(task) {
                self.done.entry(task).or_insert(None);
            }
        }
    }

    pub(super) fn joined(&mut self, machine: u32, name: String) {
        self.machines.insert(machine, (name, false));
    }

    pub(super) fn left(&mut self, machine: u32, at_ms: u64) {
        if let Some((_, left)) = self.machines.get_mut(&machine) {
            *left = true;
        }
        let its: Vec<TaskId> = self
            .open
            .keys()
            .filter(|(_, other)| *other == machine)
            .map(|(task, _)| *task)
            .collect();
        for task in its {
            self.close(task, machine, at_ms, AttemptEnd::Left);
        }
    }

    pub(super) fn started(&mut self, task: TaskId, machine: u32, at_ms: u64) {
        if self.done.get(&task) == Some(&None) {
            self.done.remove(&task);
            self.remade.insert(task);
        }
        if self.open.contains_key(&(task, machine)) {
            return;
        }
        if !self.is_open(task) && !self.done.contains_key(&task) {
            self.running += 1;
        }
        let number = self.first + self.attempts.len() as u64;
        self.open.insert((task, machine), number);
        self.attempts.push_back(Row {
            machine,
            task,
            start_ms: at_ms,
            end: None,
        });
        if self.attempts.len() > ATTEMPTS_MAX {
            self.attempts.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn accepted(&mut self, task: TaskId, machine: u32, bytes: u64, at_ms: u64) {
        self.close(task, machine, at_ms, AttemptEnd::Accepted);
        let is_new = self.done.insert(task, Some((machine, bytes))).is_none();
        if is_new && self.is_open(task) {
            self.running -= 1;
        }
    }

    pub(super) fn revoked(&mut self, task: TaskId, machine: u32, at_ms: u64) {
        self.close(task, machine, at_ms, AttemptEnd::Revoked);
    }

    pub(super) fn reopened(&mut self, task: TaskId) {
        self.remade.insert(task);
        if self.done.remove(&task).is_some() && self.is_open(task) {
            self.running += 1;
        }
    }

    /// All attempts have ended, because the job has.
    pub(super) fn end(&mut self, at_ms: u64) {
        while let Some((&(task, machine), _)) = self.open.first_key_value() {
            self.close(task, machine, at_ms, AttemptEnd::Revoked);
        }
    }

    pub(super) fn done(&self) -> u64 {
        self.done.len() as u64
    }

    pub(super) fn running(&self) -> u64 {
        self.running
    }

    fn is_open(&self, task: TaskId) -> bool {
        self.machines_at(task).next().is_some()
    }

    fn machines_at(&self, task: TaskId) -> impl Iterator<Item = u32> + '_ {
        self.open
            .range((task, 0)..=(task, u32::MAX))
            .map(|((_, machine), _)| *machine)
    }

    fn close(&mut self, task: TaskId, machine: u32, at_ms: u64, end: AttemptEnd) {
        let Some(number) = self.open.remove(&(task, machine)) else {
            return;
        };
        if !self.is_open(task) && !self.done.contains_key(&task) {
            self.running -= 1;
        }
        let index = number.checked_sub(self.first).map(|index| index as usize);
        if let Some(row) = index.and_then(|index| self.attempts.get_mut(index)) {
            row.end = Some((at_ms, end));
        }
    }

    /// The document, for attempts after `origin_ms`.
    pub(super) fn document(&self, event: String, origin_ms: u64) -> Tasks {
        let mut tasks: BTreeMap<TaskId, Task> = BTreeMap::new();
        for (&task, proof) in &self.done {
            let row = Task {
                task: name_of(task),
                state: if proof.is_some() {
                    TaskState::Done
                } else {
                    TaskState::Reused
                },
                machines: proof.iter().map(|(machine, _)| *machine).collect(),
                bytes: proof.map(|(_, bytes)| bytes),
            };
            tasks.insert(task, row);
        }
        for &(task, machine) in self.open.keys().filter(|(task, _)| !self.done.contains_key(task)) {
            let row = tasks.entry(task).or_insert_with(|| Task {
                task: name_of(task),
                state: TaskState::Running,
                machines: Vec::new(),
                bytes: None,
            });
            row.machines.push(machine);
        }
        let machines = self.machines.iter().map(|(&machine, (name, left))| Machine {
            machine,
            name: name.clone(),
            left: *left,
        });
        let attempts = self.attempts.iter().map(|row| Attempt {
            machine: row.machine,
            task: name_of(row.task),
            start_ms: row.start_ms.saturating_sub(origin_ms),
            end_ms: row.end.map(|(at_ms, _)| at_ms.saturating_sub(origin_ms)),
            end: row.end.map(|(_, end)| end),
        });
        Tasks {
            event: Some(event),
            segments: self.segments,
            arities: self.arities,
            tasks: tasks.into_values().collect(),
            machines: machines.collect(),
            attempts: attempts.collect(),
            origin_ms,
        }
    }
}

/// The name of a task in documents.
pub(crate) fn name_of(task: TaskId) -> TaskName {
    match task {
        TaskId::Segment(index) => format!("s{index}"),
        TaskId::Node(NodeId { level, index }) => format!("n{level}.{index}"),
        TaskId::Final => "final".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId::Segment(3);

    fn document(book: &TaskBook) -> Tasks {
        book.document("1-1".into(), 100)
    }

    #[test]
    fn copies_of_a_task_are_one_task_that_runs() {
        let mut book = TaskBook::default();
        book.started(TASK, 1, 110);
        book.started(TASK, 0, 120);
        book.started(TASK, 0, 125);
        assert_eq!(book.running(), 1);
        let now = document(&book);
        assert_eq!(
            (now.tasks[0].state, &now.tasks[0].machines[..]),
            (TaskState::Running, &[0, 1][..])
        );
        assert_eq!(now.attempts.len(), 2, "it was said twice");
        book.accepted(TASK, 1, 7, 130);
        let now = document(&book);
        assert_eq!((book.done(), book.running()), (1, 0));
        assert_eq!(
            (now.tasks[0].state, now.tasks[0].bytes),
            (TaskState::Done, Some(7))
        );
        assert_eq!(now.attempts[0].end, Some(AttemptEnd::Accepted));
        assert_eq!((now.attempts[0].start_ms, now.attempts[0].end_ms), (10, Some(30)));
        assert_eq!(now.attempts[1].end, None, "the copy goes on until it is revoked");
        // Its proof is of no use, and the copy is still at it.
        book.reopened(TASK);
        assert_eq!((book.done(), book.running()), (0, 1));
        book.left(0, 140);
        assert_eq!(document(&book).attempts[1].end, Some(AttemptEnd::Left));
        assert!(document(&book).tasks.is_empty() && book.running() == 0);
    }

    #[test]
    fn a_proof_of_an_earlier_run_counts_until_its_task_is_made_again() {
        let mut book = TaskBook::default();
        book.kept(&[TASK, TaskId::Final]);
        assert_eq!(document(&book).tasks[0].state, TaskState::Reused);
        book.started(TASK, 0, 110);
        assert_eq!((book.done(), book.running()), (1, 1));
        book.kept(&[TASK]);
        book.revoked(TASK, 0, 120);
        book.kept(&[TASK]);
        assert_eq!((book.done(), book.running()), (1, 0), "it was of no use");
    }

    #[test]
    fn only_the_latest_attempts_are_kept() {
        let mut book = TaskBook::default();
        book.started(TASK, 9, 100);
        for time in 0..ATTEMPTS_MAX as u64 {
            book.started(TaskId::Final, 0, time);
            book.revoked(TaskId::Final, 0, time);
        }
        assert_eq!(document(&book).attempts.len(), ATTEMPTS_MAX);
        // The number of the first attempt is that of no row any more.
        book.accepted(TASK, 9, 1, 200);
        assert!(
            document(&book)
                .attempts
                .iter()
                .all(|attempt| attempt.task == "final")
        );
        assert_eq!(book.done(), 1);
    }

    #[test]
    fn names_of_tasks_are_short() {
        let node = TaskId::Node(NodeId { level: 2, index: 5 });
        assert_eq!([TASK, node, TaskId::Final].map(name_of), ["s3", "n2.5", "final"]);
    }
}
