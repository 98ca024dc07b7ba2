//! The management API: people, machines, namespaces and the log, as their clients see them.

use serde_json::{Value, json};

use crate::harness::{Client, Reply};

mod audit;
mod members;
mod namespaces;
mod openapi;
mod people;
mod refusals;
mod robots;
mod secrets;

/// Somebody's personal token: its id, and its owner logging in with it for a password.
pub(crate) async fn personal_token(user: &Client, name: &str, scopes: &[&str]) -> (i64, Client) {
    let path = format!("/api/v1/users/{}/tokens", user.name());
    let reply = user.post(&path).json(&json!({ "name": name, "scopes": scopes })).await;
    let token = reply.is(201).json();
    (id(&token), user.as_user(user.name(), secret(&token)).with_basic())
}

/// A robot of that namespace: its id, and itself logging in.
pub(crate) async fn robot(owner: &Client, namespace: &str, name: &str, scopes: &[&str]) -> (i64, Client) {
    let path = format!("/api/v1/namespaces/{namespace}/robots");
    let robot = owner.post(&path).json(&json!({ "name": name, "scopes": scopes })).await.is(201).json();
    let client = owner.as_user(robot["name"].as_str().unwrap(), secret(&robot)).with_basic();
    (id(&robot), client)
}

/// Makes somebody a member of a namespace.
pub(crate) async fn put_member(owner: &Client, namespace: &str, member: &Client, role: &str) -> Reply {
    let path = format!("/api/v1/namespaces/{namespace}/members/{}", member.name());
    owner.put(&path).json(&json!({ "role": role })).await
}

/// Changes a user as an admin.
pub(crate) async fn change_user(admin: &Client, user: &Client, change: Value) -> Reply {
    admin.patch(&format!("/api/v1/users/{}", user.name())).json(&change).await
}

#[track_caller]
pub(crate) fn id(token: &Value) -> i64 {
    token["id"].as_i64().unwrap()
}

#[track_caller]
pub(crate) fn secret(token: &Value) -> &str {
    token["secret"].as_str().unwrap()
}

/// The items of one page.
#[track_caller]
fn items(page: &Reply) -> Vec<Value> {
    page.is(200).json()["items"].as_array().unwrap().clone()
}

/// Every item of a list, page by page, by what links say; no page is longer than `n`.
pub(crate) async fn walk(client: &Client, path: &str, n: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut next = Some(format!("{path}{separator}n={n}"));
    while let Some(address) = next {
        let page = client.get(&address).await;
        let entries = items(&page);
        assert!(entries.len() <= n && (page.next().is_none() || entries.len() == n), "{page:?}");
        found.extend(entries);
        next = page.next();
    }
    found
}

/// One field of each.
fn column(items: &[Value], field: &str) -> Vec<String> {
    items.iter().map(|item| item[field].as_str().unwrap_or_else(|| panic!("no `{field}`: {item}")).to_owned()).collect()
}

/// The log's entries about that target, oldest first.
async fn log_of(admin: &Client, target: &str) -> Vec<Value> {
    let target: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    let mut found = walk(admin, &format!("/api/v1/audit?target={target}"), 100).await;
    found.reverse();
    found
}
