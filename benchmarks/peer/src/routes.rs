//! The ecosystem's routing engine, as published: which route takes a request.
//!
//!     ttplan-peer-routes < LINES
//!
//! Each line is `{"routes": [...], "asked": [{"model", "tag", "tokens", "cost"}, ...]}`, the routes as bodies of `POST /v1/routes`;
//! each line out is the names of the routes that take them, null for none.

use std::io::{self, BufRead};

use serde_json::{json, Value};
use tt_routing::{NewRoute, Route, RoutingEngine};
use tt_shared::messages::ChatCompletionRequest;
use tt_shared::context::{ProviderCredentials, RequestContext, SecretString};
use uuid::Uuid;

fn route(fields: &Value) -> Route {
    let new: NewRoute = serde_json::from_value(fields.clone()).expect("a route");
    // What the store does: the id is the gateway's own.
    serde_json::from_value(json!({
        "id": Uuid::new_v4(),
        "name": new.name,
        "priority": new.priority,
        "enabled": new.enabled,
        "when": new.when,
        "then": new.then,
    }))
    .expect("a route with an id")
}

fn taken_by(engine: &RoutingEngine, asked: &Value) -> Option<String> {
    let request: ChatCompletionRequest = serde_json::from_value(json!({
        "model": asked["model"],
        "messages": [{"role": "user", "content": "hello"}],
    }))
    .expect("a request");
    let context = RequestContext {
        trace_id: Uuid::nil(),
        org_id: Uuid::nil(),
        api_key_id: Uuid::nil(),
        credentials: ProviderCredentials {
            api_key: SecretString::new("none"),
            base_url: None,
            extra_headers: Vec::new(),
        },
        tag: asked["tag"].as_str().map(String::from),
        deadline: None,
    };
    let tokens = asked["tokens"].as_u64().expect("tokens") as u32;
    engine
        .evaluate_with_cost(&request, &context, tokens, asked["cost"].as_f64())
        .map(|route| route.name.clone())
}

fn main() {
    for line in io::stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let routes = line["routes"].as_array().expect("routes").iter().map(route);
        let engine = RoutingEngine::with_routes(routes);
        let names: Vec<_> = line["asked"]
            .as_array()
            .expect("asked")
            .iter()
            .map(|asked| taken_by(&engine, asked))
            .collect();
        println!("{}", json!(names));
    }
}
