//! A reader that has a snapshot and the events after it knows what the board knows, whatever
//! happens.

use myriad_api::{Attempt, AttemptEnd, Event as ApiEvent, Machine, Task, TaskState};
use myriad_core::{NodeId, Peer};
use proptest::prelude::*;

use super::*;

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Node(Event),
    End(u8),
    /// The client reads so many events.
    Read(usize),
    /// It comes back, with the id of the last event that it has.
    Resume,
    /// The job ends while it is away, others push it out of mind, and it is submitted again.
    LetGo,
}

/// A client of the API, which has nothing but what it says.
struct Client {
    reader: Subscription,
    last: Option<EventId>,
    job: Option<Job>,
    tasks: Tasks,
}

impl Client {
    fn new(board: &Board) -> Self {
        Self {
            reader: board.subscribe(Stream::Job(ID), None).unwrap(),
            last: None,
            job: None,
            tasks: Tasks::default(),
        }
    }

    fn resume(&mut self, board: &Board) {
        self.reader = board.subscribe(Stream::Job(ID), self.last).unwrap();
    }

    fn read(&mut self, board: &Board, events: usize) {
        for _ in 0..events {
            let Some(delivery) = self.reader.try_next() else {
                return;
            };
            let event: ApiEvent = serde_json::from_str(&delivery.data).unwrap();
            assert_eq!(event.news.name(), delivery.name);
            assert_eq!(event.job, Some(ID.to_string()));
            let before = self.last.filter(|_| delivery.name != "snapshot");
            let id = delivery.id.unwrap();
            assert!(before.is_none_or(|before| before.count + 1 == id.count));
            self.last = Some(id);
            self.take(board, event, id);
        }
    }

    fn ask_for_tasks(&mut self, board: &Board) {
        self.tasks = board.tasks(ID).unwrap();
    }

    fn take(&mut self, board: &Board, event: ApiEvent, id: EventId) {
        let at_ms = event.at_ms;
        if let News::Snapshot { now } = event.news {
            self.job = Some(*now);
            self.ask_for_tasks(board);
            return;
        }
        let job = self.job.as_mut().expect("a snapshot comes first");
        job.updated_ms = at_ms;
        let reused = job.progress.reused;
        match &event.news {
            News::State { state, error } => {
                (job.state, job.error) = (*state, error.clone());
                if state.is_over() {
                    job.ended_ms = Some(at_ms);
                }
            }
            News::Cut { segments, reused } => {
                (job.progress.segments, job.progress.reused) = (*segments, *reused);
            }
            News::Planned {
                instructions,
                segments,
                tasks,
                reused,
                public_values,
                ..
            } => {
                job.progress.instructions = *instructions;
                job.progress.segments = u64::from(*segments);
                job.progress.tasks = Some(*tasks);
                job.progress.reused = *reused;
                job.public_values = Some(public_values.clone());
            }
            _ => {}
        }
        let has_it = |tasks: &Tasks| {
            let its: EventId = tasks.event.as_ref().unwrap().parse().unwrap();
            its.count >= id.count
        };
        match &event.news {
            News::Cut { reused: now, .. } if *now > reused => self.ask_for_tasks(board),
            News::Planned { reused: 1.., .. } => self.ask_for_tasks(board),
            _ if has_it(&self.tasks) => {}
            news => self.take_of_tasks(news, at_ms),
        }
    }

    fn take_of_tasks(&mut self, news: &News, at_ms: u64) {
        let at = at_ms - self.tasks.origin_ms;
        match news {
            News::Cut { segments, .. } => self.tasks.segments = *segments as u32,
            News::Planned {
                segments, arities, ..
            } => {
                (self.tasks.segments, self.tasks.arities) = (*segments, Some(*arities));
            }
            News::Joined { machine, name } => {
                self.tasks.machines.retain(|other| other.machine != *machine);
                self.tasks.machines.push(Machine {
                    machine: *machine,
                    name: name.clone(),
                    left: false,
                });
            }
            News::Left { machine } => {
                for other in self
                    .tasks
                    .machines
                    .iter_mut()
                    .filter(|other| other.machine == *machine)
                {
                    other.left = true;
                }
                self.end(AttemptEnd::Left, at, |attempt| attempt.machine == *machine);
            }
            News::Started { machine, task } => {
                self.tasks
                    .tasks
                    .retain(|row| !(row.task == *task && row.state == TaskState::Reused));
                let goes_on = |attempt: &Attempt| {
                    (attempt.machine, &attempt.task, attempt.end) == (*machine, task, None)
                };
                if !self.tasks.attempts.iter().any(goes_on) {
                    self.tasks.attempts.push(Attempt {
                        machine: *machine,
                        task: task.clone(),
                        start_ms: at,
                        end_ms: None,
                        end: None,
                    });
                }
            }
            News::Accepted {
                machine, task, bytes, ..
            } => {
                self.end(AttemptEnd::Accepted, at, |attempt| {
                    (attempt.machine, &attempt.task) == (*machine, task)
                });
                self.tasks.tasks.retain(|row| row.task != *task);
                self.tasks.tasks.push(Task {
                    task: task.clone(),
                    state: TaskState::Done,
                    machines: vec![*machine],
                    bytes: Some(*bytes),
                });
            }
            News::Revoked { machine, task } => self.end(AttemptEnd::Revoked, at, |attempt| {
                (attempt.machine, &attempt.task) == (*machine, task)
            }),
            News::Reopened { task, .. } => self.tasks.tasks.retain(|row| row.task != *task),
            _ => {}
        }
        self.settle();
    }

    fn end(&mut self, end: AttemptEnd, at: u64, of: impl Fn(&Attempt) -> bool) {
        let open = self
            .tasks
            .attempts
            .iter_mut()
            .filter(|attempt| attempt.end.is_none());
        for attempt in open.filter(|attempt| of(attempt)) {
            (attempt.end, attempt.end_ms) = (Some(end), Some(at));
        }
    }

    /// The tasks that run are those that somebody is at and that are not done.
    fn settle(&mut self) {
        let Tasks { tasks, attempts, .. } = &mut self.tasks;
        tasks.retain(|row| row.state != TaskState::Running);
        let done: Vec<String> = tasks.iter().map(|row| row.task.clone()).collect();
        for attempt in attempts.iter().filter(|attempt| attempt.end.is_none()) {
            if done.contains(&attempt.task) {
                continue;
            }
            match tasks.iter_mut().find(|row| row.task == attempt.task) {
                Some(row) => row.machines.push(attempt.machine),
                None => tasks.push(Task {
                    task: attempt.task.clone(),
                    state: TaskState::Running,
                    machines: vec![attempt.machine],
                    bytes: None,
                }),
            }
        }
    }

    /// What it knows, in an order of its own.
    fn known(&self) -> (Job, Tasks) {
        let mut job = self.job.clone().unwrap();
        if !job.state.is_over() {
            let count = |is: fn(TaskState) -> bool| {
                self.tasks.tasks.iter().filter(|row| is(row.state)).count() as u64
            };
            job.progress.done = count(|state| state != TaskState::Running);
            job.progress.running = count(|state| state == TaskState::Running);
        }
        (job, ordered(self.tasks.clone()))
    }
}

fn ordered(mut tasks: Tasks) -> Tasks {
    tasks.event = None;
    tasks.tasks.sort_by(|one, other| one.task.cmp(&other.task));
    for row in &mut tasks.tasks {
        row.machines.sort_unstable();
    }
    tasks.machines.sort_by_key(|machine| machine.machine);
    tasks
}

fn task() -> impl Strategy<Value = TaskId> {
    prop_oneof![
        (0..4u32).prop_map(TaskId::Segment),
        (0..2u32).prop_map(|index| TaskId::Node(NodeId { level: 1, index })),
        Just(TaskId::Final),
    ]
}

fn node_event() -> impl Strategy<Value = Event> {
    let prover = 0..4usize;
    let reason = || prop::sample::select(&["", "why", "\u{1b}[2J"][..]).prop_map(String::from);
    prop_oneof![
        3 => prop_oneof![
            Just(Event::Queued),
            Just(Event::Preparing),
            Just(Event::Planning),
            Just(Event::KeysReady { made: None }),
            Just(Event::Finished),
            Just(Event::Traffic { peers: 1, bytes_in: 2, bytes_out: 3 }),
            reason().prop_map(|text| Event::Notice { text }),
            (0..9u64, reason()).prop_map(|(number, text)| Event::NoticeToAll { number, text }),
        ],
        1 => (1..9usize, prop::collection::vec(task(), 0..3)).prop_map(|(segments, kept)| Event::Cut {
            segments,
            provers: 1,
            reused: 0,
            kept,
        }),
        1 => prop::collection::vec(task(), 0..3).prop_map(|kept| planned(kept, vec![1, 2, 3])),
        2 => (prover.clone(), reason()).prop_map(|(prover, name)| Event::Joined {
            prover,
            peer: Peer([1; 32]),
            name,
        }),
        1 => prover.clone().prop_map(|prover| Event::Left { prover }),
        8 => (prover.clone(), task()).prop_map(|(prover, task)| Event::Started { prover, task }),
        4 => (prover.clone(), task()).prop_map(|(prover, task)| done(prover, task)),
        3 => (prover, task()).prop_map(|(prover, task)| Event::Idle { prover, task }),
        1 => (task(), reason()).prop_map(|(task, reason)| Event::Retrying { task, reason }),
        1 => (task(), reason()).prop_map(|(task, reason)| Event::Reopened { task, reason }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => node_event().prop_map(Step::Node),
        1 => (0..4u8).prop_map(Step::End),
        6 => (1..12usize).prop_map(Step::Read),
        1 => Just(Step::Resume),
        1 => Just(Step::LetGo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_client_knows_what_the_board_knows(steps in prop::collection::vec(step(), 0..120)) {
        let dir = tempfile::tempdir().unwrap();
        // It is run over now and then.
        let small = Limits { events: 24, bytes: 1 << 20 };
        let board = Board::with_rings(dir.path(), [small, small]).unwrap();
        let done = outcome(dir.path(), "block", vec![1, 2, 3]);
        let mut reporter = board.enter(ID, entry("block")).unwrap();
        let mut client = Client::new(&board);
        let mut left = 0;
        for step in steps {
            match step {
                Step::Node(mut event) => {
                    // Further segments come with further proofs of them.
                    if let Event::Cut { reused, kept, .. } = &mut event {
                        left += kept.len();
                        *reused = left;
                    }
                    if let Event::Planned { reused, .. } = &event {
                        left = *reused;
                    }
                    reporter.event(&event);
                }
                Step::End(how) => {
                    board.ended(ID, match how {
                        0 => End::Done(&done),
                        1 => failed("why"),
                        2 => End::Cancelled,
                        _ => End::Interrupted,
                    });
                    client.read(&board, usize::MAX);
                    let known = client.known();
                    prop_assert_eq!(&known.0, &board.job(ID).unwrap());
                    reporter = board.enter(ID, entry("block")).unwrap();
                    left = 0;
                }
                Step::Read(events) => client.read(&board, events),
                Step::Resume => client.resume(&board),
                Step::LetGo => {
                    let other = board.subscribe(Stream::All, None).unwrap();
                    drop(std::mem::replace(&mut client.reader, other));
                    board.ended(ID, End::Interrupted);
                    drop(reporter);
                    let slot = board.slot(ID);
                    lock(&slot.inner).live = None;
                    board.let_go(ID, &slot, 2);
                    drop(slot);
                    prop_assert!(lock(&board.0.index).slots.is_empty());
                    reporter = board.enter(ID, entry("block")).unwrap();
                    left = 0;
                    client.resume(&board);
                }
            }
        }
        client.read(&board, usize::MAX);
        let (job, tasks) = client.known();
        prop_assert_eq!(job, board.job(ID).unwrap());
        prop_assert_eq!(tasks, ordered(board.tasks(ID).unwrap()));
        // What it counts is so.
        let progress = board.job(ID).unwrap().progress;
        prop_assert_eq!(progress.running, board.counts().running);
    }
}
