//! Robots: accounts of machines. They belong to a namespace, so that a person who leaves breaks no CI.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::Page;
use super::reply::{Created, Json, List, NoContent};
use super::secrets::{self, Secret, TokenView};
use super::words::{Moment, Word};
use super::{Call, Error};
use crate::auth::{Auth, RobotName};
use crate::domain::{Grant, Namespace};
use crate::metadata::{AccessToken, Metadata, NewToken, TokenKind, TokenOwner};
use crate::router;
use crate::router::Links;

/// Keeps robots.
#[derive(Clone)]
pub struct Robots {
    auth: Auth,
    metadata: Metadata,
    links: Links,
}

/// A robot that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRobot {
    /// What follows the `+` of its name: one component of a repository name, at most 64 bytes.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// Within its namespace: `namespace:…` of that one, or `repository:…` of one in it. At least one.
    #[schemars(length(min = 1, max = 100))]
    scopes: Vec<Word<Grant>>,
    /// In seconds. Without this and `expires_at` it never ends.
    expires_in: Option<u64>,
    expires_at: Option<Moment>,
}

/// A robot. Its `name` is what it logs in with: `team+deploy`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Robot")]
pub struct RobotView {
    #[serde(flatten)]
    token: TokenView,
    namespace: Word<Namespace>,
}

/// A new robot with its secret, which nobody is shown again.
#[derive(Serialize, JsonSchema)]
pub struct CreatedRobot {
    #[serde(flatten)]
    robot: RobotView,
    secret: Secret,
}

impl Robots {
    /// Keeps them in `metadata`; `auth` says what time it is for tokens.
    pub fn new(auth: Auth, metadata: Metadata, links: Links) -> Self {
        Self { auth, metadata, links }
    }

    /// One page of a namespace's robots, oldest first.
    ///
    /// # Errors
    /// [`Error::PageSize`], [`Error::Cursor`].
    pub async fn list(&self, request: router::RobotList, call: Call) -> Result<List<RobotView>, Error> {
        let namespace = request.namespace;
        let owner = TokenOwner::Namespace(namespace.clone());
        let page = Page::of(&call.query)?;
        let robots = self.metadata.tokens(&owner, TokenKind::Robot, page.token_cursor()?, page.limit()).await?;
        let path = format!("/api/v1/namespaces/{namespace}/robots");
        let place = |robot: &AccessToken| robot.id.get().to_string();
        Ok(page.list(robots, &self.links, &path, place, |robot| RobotView::of(robot, &namespace)))
    }

    /// A robot.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] if it is not one of that namespace's.
    pub async fn get(&self, request: router::RobotGet, _: Call) -> Result<Json<RobotView>, Error> {
        let owner = TokenOwner::Namespace(request.namespace.clone());
        let robot = secrets::known(&self.metadata, request.token, TokenKind::Robot, &owner).await?;
        Ok(Json::of(&RobotView::of(robot, &request.namespace)))
    }

    /// Makes a robot. Its scopes stay within the namespace: elsewhere it would have no role to narrow.
    ///
    /// # Errors
    /// [`Error::RobotName`], [`Error::RobotScope`], [`Error::Form`], [`Error::TokenNameTaken`].
    pub async fn create(
        &self,
        request: router::RobotCreate,
        wanted: CreateRobot,
        call: Call,
    ) -> Result<Created<CreatedRobot>, Error> {
        let namespace = request.namespace;
        let name = RobotName::new(namespace.clone(), &wanted.name)?;
        let grants = secrets::grants(wanted.scopes)?;
        if let Some(outside) = grants.iter().find(|grant| !grant.is_within(&namespace)) {
            return Err(Error::RobotScope { grant: outside.clone(), namespace });
        }
        let (secret, hash) = Secret::generate(TokenKind::Robot)?;
        let robot = NewToken {
            kind: TokenKind::Robot,
            name: name.robot().into(),
            owner: TokenOwner::Namespace(namespace.clone()),
            grants,
            secret: hash,
            parent: None,
            client: None,
            expires_at: secrets::end(wanted.expires_in, wanted.expires_at, self.auth.now())?,
        };
        let robot = self.metadata.create_token(robot, call.audit_origin()).await.map_err(secrets::of_create)?;
        Ok(Created::of(&CreatedRobot { robot: RobotView::of(robot, &namespace), secret }))
    }

    /// Removes a robot, at once and whatever tokens it has out (I6).
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] if it is not one of that namespace's.
    pub async fn revoke(&self, request: router::RobotRevoke, call: Call) -> Result<NoContent, Error> {
        let owner = TokenOwner::Namespace(request.namespace);
        let robot = secrets::known(&self.metadata, request.token, TokenKind::Robot, &owner).await?;
        secrets::revoke(&self.metadata, robot, &call).await
    }
}

impl RobotView {
    fn of(mut token: AccessToken, namespace: &Namespace) -> Self {
        token.name = format!("{namespace}+{}", token.name).into();
        Self { token: TokenView::of(token), namespace: Word(namespace.clone()) }
    }
}
