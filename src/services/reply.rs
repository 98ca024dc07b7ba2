use std::marker::PhantomData;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LINK};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::IntoResponse;
use crate::protocol::{Body, Response, headers};

/// A reply that the OpenAPI document can tell of, before any is given.
pub(super) trait Described {
    /// The statuses it may have, short of errors.
    const STATUSES: &'static [StatusCode];
    /// The type of its body, where it has one.
    const MEDIA_TYPE: Option<&'static str>;

    /// What its body looks like.
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema>;
}

const JSON: &str = "application/json";

/// 200 with JSON. Never cached: it holds state that changes, or secrets (R-TKG-09).
pub struct Json<T> {
    text: String,
    of: PhantomData<T>,
}

/// 201 with JSON: what has just been made.
pub struct Created<T>(Json<T>);

/// 200 or 201 with JSON: it was so already, or has been made so now.
pub struct Ensured<T> {
    json: Json<T>,
    new: bool,
}

/// 204: done, and nothing to say.
pub struct NoContent;

/// 200 with one page of a list, and a `Link` to the next where more follow (R-LOC-06).
pub struct List<T> {
    json: Json<Items<T>>,
    next: Option<String>,
}

/// A page as it is written.
#[derive(Serialize, JsonSchema)]
pub(super) struct Items<T> {
    items: Vec<T>,
}

impl<T: Serialize> Json<T> {
    /// That value. Maps with text keys, strings and numbers always serialise.
    pub(super) fn of(value: &T) -> Self {
        Self { text: serde_json::to_string(value).unwrap_or_default(), of: PhantomData }
    }
}

impl<T: Serialize> Created<T> {
    /// That value.
    pub(super) fn of(value: &T) -> Self {
        Self(Json::of(value))
    }
}

impl<T: Serialize> Ensured<T> {
    /// That value, and whether it was not there before.
    pub(super) fn of(value: &T, new: bool) -> Self {
        Self { json: Json::of(value), new }
    }
}

impl<T: Serialize> List<T> {
    /// Those items, and the value of `Link` for the next page.
    pub(super) fn of(items: Vec<T>, next: Option<String>) -> Self {
        Self { json: Json::of(&Items { items }), next }
    }
}

impl<T> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.text));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        never_cached(&mut response);
        response
    }
}

/// Says that no cache may keep the reply.
pub(super) fn never_cached(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

impl<T> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        *response.status_mut() = StatusCode::CREATED;
        response
    }
}

impl<T> IntoResponse for Ensured<T> {
    fn into_response(self) -> Response {
        if self.new { Created(self.json).into_response() } else { self.json.into_response() }
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }
}

impl<T> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let mut response = self.json.into_response();
        if let Some(next) = self.next {
            response.headers_mut().insert(LINK, headers::value(next));
        }
        response
    }
}

impl<T: JsonSchema> Described for Json<T> {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: Option<&'static str> = Some(JSON);
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemas.subschema_for::<T>())
    }
}

impl<T: JsonSchema> Described for Created<T> {
    const STATUSES: &'static [StatusCode] = &[StatusCode::CREATED];
    const MEDIA_TYPE: Option<&'static str> = Some(JSON);
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        Json::<T>::schema(schemas)
    }
}

impl<T: JsonSchema> Described for Ensured<T> {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK, StatusCode::CREATED];
    const MEDIA_TYPE: Option<&'static str> = Some(JSON);
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        Json::<T>::schema(schemas)
    }
}

impl Described for NoContent {
    const STATUSES: &'static [StatusCode] = &[StatusCode::NO_CONTENT];
    const MEDIA_TYPE: Option<&'static str> = None;
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

impl<T: JsonSchema> Described for List<T> {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: Option<&'static str> = Some(JSON);
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        Json::<Items<T>>::schema(schemas)
    }
}
