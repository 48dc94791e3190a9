//! Reads a PlanInput as JSON from the file named first, replays it with tt-plan-core, prints the result as JSON on stdout and
//! the seconds that the replay itself took on stderr.

use std::{env, fs, process, time::Instant};

use tt_plan_core::{replay::replay, types::PlanInput};

fn main() {
    let path = env::args().nth(1).unwrap_or_else(|| {
        eprintln!("usage: ttplan-peer PLAN_INPUT.json");
        process::exit(2);
    });
    let text = fs::read(&path).unwrap_or_else(|error| {
        eprintln!("{path}: {error}");
        process::exit(2);
    });
    let input: PlanInput = serde_json::from_slice(&text).unwrap_or_else(|error| {
        eprintln!("{path}: {error}");
        process::exit(2);
    });
    let start = Instant::now();
    let result = replay(input).unwrap_or_else(|error| {
        eprintln!("{path}: {error}");
        process::exit(1);
    });
    eprintln!("{}", start.elapsed().as_secs_f64());
    println!("{}", serde_json::to_string(&result).expect("a result is JSON"));
}
