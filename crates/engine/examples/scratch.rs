use std::{env, fs};
use myriad_engine::{Input, MemoryBudget, worker::*};
use openvm_stark_backend::codec::Decode;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let keys = env::temp_dir().join("myriad-bench-keys");
    if args[0] == "engine-worker" {
        return Ok(serve(&ServeOptions { keys, data_bytes_max: None })?);
    }
    let config = WorkerConfig { command: env::current_exe()?, args: vec!["engine-worker".into()], threads: 2 };
    let mut worker = Worker::spawn(&config)?;
    worker.load(fs::read(&args[0])?, (args[1] != "-").then(|| fs::read_to_string(&args[1])).transpose()?, Input::from_bytes(fs::read(&args[2])?)?)?;
    let (plan, usage) = worker.plan(MemoryBudget::from_bytes((args[3].parse::<f64>()? * (1u64 << 30) as f64) as u64), u64::MAX)?;
    println!("plan: {} segments, {} insns, {:?}, largest {} MiB", plan.segments.len(), plan.instructions, usage.wall, plan.peak_bytes() >> 20);
    #[derive(serde::Deserialize)] struct File { app_vm_config: openvm_sdk_config::SdkVmConfig }
    use openvm_stark_backend::StarkEngine;
    use openvm_circuit::arch::VmCircuitConfig;
    let cfg = if args[1] == "-" { openvm_sdk_config::SdkVmConfig::riscv32() } else { toml::from_str::<File>(&fs::read_to_string(&args[1])?)?.app_vm_config };
    let engine = openvm_sdk::DefaultStarkEngine::new(openvm_stark_sdk::config::app_params_with_100_bits_security(20));
    let circuit = VmCircuitConfig::<openvm_sdk::SC>::create_airs(&cfg).map_err(|e| e.to_string())?;
    let pk = circuit.keygen(engine.config());
    let dims: Vec<(String, u64, u64)> = pk.per_air.iter().map(|pk| (pk.air_name.clone(), pk.vk.params.width.total_width() as u64, pk.vk.symbolic_constraints.interactions.len() as u64)).collect();
    let largest = (0..plan.segments.len()).max_by_key(|&i| plan.segments[i].peak_bytes).unwrap();
    for i in args.iter().skip(4).filter(|a| *a != "air") {
        let i = match i.as_str() { "largest" => largest, "mid" => plan.segments.len() / 2, "last" => plan.segments.len() - 1, i => i.parse()? };
        let s = &plan.segments[i];
        let (proof, usage) = worker.prove(s)?;
        println!("segment {i}: {} insns, expected {} MiB, peak {} MiB, {:.1} Mcells, {:.1} Mint, cpu {:.1}", s.num_insns, s.peak_bytes >> 20, usage.peak_bytes >> 20, s.cells as f64 / 1e6, s.interactions as f64 / 1e6, usage.cpu.as_secs_f64());
        let p = openvm_stark_backend::proof::Proof::<openvm_sdk::SC>::decode(&mut proof.as_slice())?;
        let (mut c, mut n, mut cf, mut nf) = (0, 0, 0, 0);
        for ((v, h), d) in p.trace_vdata.iter().zip(&s.trace_heights).zip(&dims) {
            let a = v.as_ref().map_or(0, |v| 1u64 << v.log_height);
            let f = if *h == 0 { 0 } else { u64::from(*h).next_power_of_two() };
            c += a * d.1; n += a * d.2; cf += f * d.1; nf += f * d.2;
        }
        println!("   true: {:.1} Mcells {:.2} Mint; unhalved: {:.1} Mcells {:.2} Mint", c as f64 / 1e6, n as f64 / 1e6, cf as f64 / 1e6, nf as f64 / 1e6);
        if args.last().unwrap() == "air" { for (air, (v, h)) in p.trace_vdata.iter().zip(&s.trace_heights).enumerate() {
            println!("  air {air} {:?}: metered {h} -> {}, actual {:?}", dims[air], h.next_power_of_two(), v.as_ref().map(|v| 1u64 << v.log_height));
        } }
    }
    Ok(())
}
