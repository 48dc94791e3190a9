//! The ecosystem's audit chain, as published.
//!
//!     ttplan-peer-audit verify CHAIN.jsonl KEY_HEX   exits 0 where tt-telemetry's verify_chain takes the entries
//!     ttplan-peer-audit write SEED_HEX               prints a chain of its own, as JSON lines with a preamble

use std::{env, fs, process};

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde_json::{json, Value};
use tt_telemetry::audit::{verify_chain, Actor, AuditEntry, AuditWriter, InMemoryAuditWriter};
use uuid::Uuid;

fn bytes32(text: &str) -> [u8; 32] {
    hex::decode(text).expect("hex").try_into().expect("32 bytes")
}

fn verify(path: &str, key: &str) -> Result<usize, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut entries: Vec<AuditEntry> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if value.get("meta").is_none() {
            entries.push(serde_json::from_value(value).map_err(|error| error.to_string())?);
        }
    }
    let key = VerifyingKey::from_bytes(&bytes32(key)).map_err(|error| error.to_string())?;
    verify_chain(&entries, &key).map_err(|error| error.to_string())?;
    Ok(entries.len())
}

fn write(seed: &str) {
    let org = Uuid::from_u128(1);
    let writer = InMemoryAuditWriter::with_key(SigningKey::from_bytes(&bytes32(seed)));
    let actors = [
        Actor::User { user_id: Uuid::from_u128(7) },
        Actor::ApiKey { key_id: Uuid::from_u128(8) },
        Actor::System,
        Actor::Anonymous,
    ];
    let payloads = [
        json!({}),
        json!({"z": 1, "a": {"y": [1, 2.5, -0.0, null, true], "b": "Zoë 😀 \u{7f}\u{1}\"\\/"}}),
        json!({"floats": [1e-5, 1e-6, 5e-324, 1.7976931348623157e308, 0.1, 123456789.123456, 1e16, 1e21]}),
        json!({"integers": [0, -1, i64::MIN, u64::MAX]}),
        json!({"\u{ffff}": 1, "😀": 2, "é": 3, "e\u{301}": 4}),
        json!({"plan_id": Uuid::from_u128(9), "projected_savings_usd": 41.371399}),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entries: Vec<AuditEntry> = payloads
        .into_iter()
        .enumerate()
        .map(|(n, payload)| {
            let actor = actors[n % actors.len()].clone();
            runtime.block_on(writer.write(org, actor, "peer.test".to_string(), payload)).expect("an entry")
        })
        .collect();
    let key = hex::encode(writer.verifying_key().to_bytes());
    println!("{}", json!({"meta": true, "verifying_key": key, "org_id": org, "entry_count": entries.len()}));
    for entry in entries {
        println!("{}", serde_json::to_string(&entry).expect("an entry is JSON"));
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["verify", path, key] => match verify(path, key) {
            Ok(count) => println!("{count} entries verify"),
            Err(error) => {
                eprintln!("{error}");
                process::exit(1);
            }
        },
        ["write", seed] => write(seed),
        _ => {
            eprintln!("usage: ttplan-peer-audit verify CHAIN.jsonl KEY_HEX | write SEED_HEX");
            process::exit(2);
        }
    }
}
