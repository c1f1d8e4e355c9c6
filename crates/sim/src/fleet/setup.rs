//! The part of a scenario that its worlds share: what each task takes on each class of machines.

use std::{collections::BTreeMap, path::Path, time::Duration};

use myriad_core::{Cost, Kind, Redundancy, TaskId, Tree};
use myriad_cost::{
    model::{Below, CostModel, ProgramModel},
    planner::{self, Class, FleetPlan, Link, Question, RequesterSide, Workload},
    profile::Profile,
    reference,
    trees::{Shape, shape},
};

use super::file::{Copies, MBIT, MachineTable, RequesterTable, ScenarioError, ScenarioFile};

/// A scenario that can be played.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) file: ScenarioFile,
    pub(super) redundancy: Redundancy,
    /// One for each table of the file.
    pub(super) workloads: Vec<Workloads>,
}

/// The work of the requesters of a table, the same for all.
#[derive(Clone, Debug)]
pub(super) struct Workloads {
    pub plan: FleetPlan,
    pub tree: Tree,
    pub costs: Vec<Cost>,
    pub tasks: TaskTimes,
    /// The time to execute and cut a block.
    pub metering: Duration,
    /// The time of each class to execute that much.
    pub execution: Vec<Duration>,
    /// The speed of each class beside the fastest one.
    pub speeds: Vec<f64>,
}

/// The cost of each shape of task.
#[derive(Clone, Debug)]
pub(super) struct TaskTimes {
    shapes: BTreeMap<Shape, usize>,
    of_shape: Vec<ShapeTimes>,
}

#[derive(Clone, Debug)]
pub(super) struct ShapeTimes {
    pub proof_bytes: u64,
    /// The time on one core of the requester.
    pub verify: Duration,
    pub memory: u64,
    /// The time on each class of machines; none where it does not fit.
    pub classes: Vec<Option<ClassTime>>,
}

/// The time on a machine whose speed is that of its profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClassTime {
    pub work: Duration,
    /// The time in addition, if the machine's last task was of another kind.
    pub cold: Duration,
}

impl TaskTimes {
    pub(crate) fn of(&self, tree: &Tree, task: TaskId) -> &ShapeTimes {
        &self.of_shape[self.shapes[&shape(tree, task)]]
    }

    /// The shortest time on any class.
    fn fastest(&self, shape: usize) -> Duration {
        let takes = self.of_shape[shape].classes.iter().flatten();
        takes.map(|takes| takes.work).min().unwrap_or_default()
    }

    /// The speed of a class beside the fastest class at each shape.
    fn relative_speed(&self, class: usize) -> f64 {
        let of_shape = |(place, shape): (usize, &ShapeTimes)| {
            let own = shape.classes[class]?.work.as_secs_f64();
            Some(self.fastest(place).as_secs_f64() / own.max(1e-9))
        };
        let all: Vec<f64> = self.of_shape.iter().enumerate().filter_map(of_shape).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

impl Setup {
    /// Plans each requester's blocks for the fleet. Paths of profiles are taken from `dir`.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn new(file: ScenarioFile, dir: &Path) -> Result<Self, ScenarioError> {
        let models = file
            .machines
            .iter()
            .map(|table| model(table, dir))
            .collect::<Result<Vec<_>, _>>()?;
        let workloads = file
            .requesters
            .iter()
            .map(|table| Workloads::new(table, &file, &models))
            .collect::<Result<_, _>>()?;
        let redundancy = match file.redundancy {
            Copies::Adaptive => Redundancy::default(),
            Copies::Fixed(copies) => Redundancy::Fixed(copies),
        };
        Ok(Self {
            file,
            redundancy,
            workloads,
        })
    }

    /// The setup of one requester with one block, whose plan is there already.
    pub(crate) fn planned(file: ScenarioFile, question: &Question, plan: FleetPlan) -> Self {
        Self {
            file,
            redundancy: Redundancy::default(),
            workloads: vec![Workloads::of(question, plan)],
        }
    }

    /// The plan for the blocks of each table of requesters.
    pub fn plans(&self) -> impl Iterator<Item = (&RequesterTable, &FleetPlan)> {
        self.file
            .requesters
            .iter()
            .zip(self.workloads.iter().map(|workload| &workload.plan))
    }

    pub fn file(&self) -> &ScenarioFile {
        &self.file
    }
}

/// The model of a table's machines, and how many threads they have.
fn model(table: &MachineTable, dir: &Path) -> Result<(CostModel, u32), ScenarioError> {
    let Some(path) = &table.profile else {
        let threads = table.threads.unwrap_or(reference::profile().machine.cores);
        return Ok((reference::model().clone(), threads));
    };
    let machines = || table.name.clone();
    let profile = Profile::load(&dir.join(path)).map_err(|source| ScenarioError::Profile {
        machines: machines(),
        source,
    })?;
    let model = CostModel::fit(&profile).map_err(|source| ScenarioError::Model {
        machines: machines(),
        source,
    })?;
    let threads = table.threads.unwrap_or(profile.machine.cores);
    Ok((model.completed_by(reference::model()), threads))
}

/// The plan of the planner; where a scenario asks for arities, the best one of theirs.
fn chosen(
    question: &Question,
    requester: &RequesterTable,
    arities: Option<[u8; 3]>,
) -> Result<FleetPlan, ScenarioError> {
    let impossible = |source| ScenarioError::Impossible {
        requester: requester.name.clone(),
        source,
    };
    match arities {
        None => planner::plan(question).map_err(impossible),
        Some(arities) => {
            let plans = planner::plans(question).map_err(impossible)?.into_iter();
            let those = plans.filter(|plan| {
                let of = plan.arities;
                [of.leaf, of.internal_for_leaf, of.internal_recursive] == arities.map(u32::from)
            });
            those
                .min_by(|one, other| one.expected_s.total_cmp(&other.expected_s))
                .ok_or_else(|| ScenarioError::Value {
                    place: "arities".into(),
                    actual: format!("{arities:?}"),
                    allowed: "those of nodes that were measured and fit the machines".into(),
                })
        }
    }
}

impl Workloads {
    fn new(
        requester: &RequesterTable,
        file: &ScenarioFile,
        models: &[(CostModel, u32)],
    ) -> Result<Self, ScenarioError> {
        let machines = &file.machines;
        let program = |model: &CostModel, of: &str| -> Result<ProgramModel, ScenarioError> {
            model.program(&requester.costs_of).cloned().ok_or_else(|| {
                let known: Vec<&str> = model.programs().iter().map(ProgramModel::name).collect();
                ScenarioError::Program {
                    program: requester.costs_of.clone(),
                    machines: of.into(),
                    known: known.join(", "),
                }
            })
        };
        let classes = machines
            .iter()
            .zip(models)
            .map(|(table, (model, threads))| {
                Ok(Class {
                    name: table.name.clone(),
                    machines: (table.count as f64 * table.honest).round() as u64,
                    threads: *threads,
                    memory_bytes: (table.memory_gib * f64::from(1 << 30)) as u64,
                    link: Link {
                        up_bytes_per_s: table.up_mbit.mean() * MBIT,
                        down_bytes_per_s: table.down_mbit.mean() * MBIT,
                        latency_s: table.latency_ms.mean() / 1000.0,
                    },
                    model: program(model, &table.name)?,
                    watts: 0.0,
                    price_per_h: 0.0,
                })
            })
            .collect::<Result<Vec<_>, ScenarioError>>()?;
        // Requesters are like the reference, unless it does not know the program.
        let own =
            program(reference::model(), "like the reference").or_else(|_| Ok(classes[0].model.clone()))?;
        let question = Question {
            workload: Workload {
                instructions: requester.work(),
                shared_bytes: ((requester.program_mb + requester.input_mb) * 1e6) as u64,
            },
            classes,
            // Dishonest machines are not in the classes: the plan leaves them out.
            honest: 1.0,
            requester: RequesterSide {
                cores: requester.cores,
                link: Link {
                    up_bytes_per_s: requester.up_mbit * MBIT,
                    down_bytes_per_s: requester.down_mbit * MBIT,
                    latency_s: requester.latency_ms / 1000.0,
                },
                model: own,
            },
            price_per_kwh: 0.0,
        };
        let plan = chosen(&question, requester, file.what_if.arities)?;
        Ok(Self::of(&question, plan))
    }

    /// Sets up with the plan as it is.
    fn of(question: &Question, plan: FleetPlan) -> Self {
        let tree = plan.tree();
        let tasks = task_times(question, &plan, &tree);
        let cost = |task| {
            let place = tasks.shapes[&shape(&tree, task)];
            Cost {
                work: tasks.fastest(place),
                memory: tasks.of_shape[place].memory,
            }
        };
        let own = &question.requester.model;
        let instructions = question.workload.instructions;
        Self {
            costs: tree.tasks().map(cost).collect(),
            speeds: (0..question.classes.len())
                .map(|class| tasks.relative_speed(class))
                .collect(),
            metering: Duration::from_secs_f64(own.metering_s(instructions)),
            execution: question
                .classes
                .iter()
                .map(|class| Duration::from_secs_f64(class.model.execution_s(instructions)))
                .collect(),
            tasks,
            tree,
            plan,
        }
    }
}

fn task_times(question: &Question, plan: &FleetPlan, tree: &Tree) -> TaskTimes {
    let mut times = TaskTimes {
        shapes: BTreeMap::new(),
        of_shape: Vec::new(),
    };
    let below = Below::of(plan.arities.internal_for_leaf);
    let of = |model: &ProgramModel, (kind, children): Shape, threads| match kind {
        Kind::Segment => Some(model.segment(model.load(plan.segment.instructions), threads)),
        _ => model.node(kind, children, below, threads),
    };
    for task in tree.tasks() {
        let shape = shape(tree, task);
        if times.shapes.contains_key(&shape) {
            continue;
        }
        let own = of(&question.requester.model, shape, 1).expect("the plan has only what was measured");
        // The planner's rule: what fits by a class's own measure fits.
        let peak = |class: &Class| Some(of(&class.model, shape, class.threads)?.peak_bytes);
        let memory = match shape.0 {
            Kind::Segment => plan.segment.memory_bytes,
            _ => question
                .classes
                .iter()
                .filter_map(peak)
                .fold(own.peak_bytes, u64::min),
        };
        let classes = question.classes.iter().map(|class| {
            let estimate = of(&class.model, shape, class.threads)?;
            (memory <= class.memory_bytes).then_some(ClassTime {
                work: Duration::from_secs_f64(estimate.wall_s),
                cold: Duration::from_secs_f64(estimate.cold_s),
            })
        });
        times.shapes.insert(shape, times.of_shape.len());
        times.of_shape.push(ShapeTimes {
            proof_bytes: own.proof_bytes,
            verify: Duration::from_secs_f64(own.verify_s),
            memory,
            classes: classes.collect(),
        });
    }
    times
}
