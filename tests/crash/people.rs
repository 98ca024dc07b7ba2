use serde_json::json;

use crate::line::Line;

/// The one user of these registries, and with it a namespace.
pub(crate) const NAME: &str = "alice";

/// Registers her and logs her in: the value of `Authorization`, good for an hour.
pub(crate) fn register(port: u16) -> String {
    let user = json!({ "username": NAME, "password": "correct horse battery staple" }).to_string();
    let headers = [("Content-Type", "application/json")];
    let reply = Line::new(port, "").ask("POST", "/api/v1/users", &headers, user.as_bytes()).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.text());
    // alice:correct horse battery staple
    let basic = "Basic YWxpY2U6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==";
    let reply = Line::new(port, basic).ask("GET", "/auth/token?service=distribution", &[], b"").unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    format!("Bearer {}", reply.json()["token"].as_str().unwrap())
}
