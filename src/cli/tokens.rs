//! `distribution token`: what people and machines log in with besides passwords.

use clap::Subcommand;

use crate::config::Flags;
use crate::domain::{Namespace, Username};
use crate::metadata::{AccessToken, Metadata, Origin, TokenId, TokenKind, TokenOwner};

use super::Error;
use super::database::{Session, all, with_existing};
use super::output::{Format, Table, maybe, moment, say};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists the tokens of a user, or the robots of a namespace.
    List {
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        format: Format,
    },
    /// Revokes a token, and what was issued for it.
    Revoke {
        /// As `token list` shows it.
        id: i64,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Owner {
    /// Whose personal tokens.
    #[arg(long)]
    user: Option<Username>,
    /// Whose robots.
    #[arg(long)]
    namespace: Option<Namespace>,
}

pub(super) fn run(flags: Flags, command: Command) -> Result<(), Error> {
    with_existing(flags, async move |session| match command {
        Command::List { owner, format } => list(session, owner, &format).await,
        Command::Revoke { id } => {
            if !session.metadata.revoke_token(TokenId::from_number(id), Origin::system()).await? {
                return Err(Error::NoToken(id));
            }
            say(&format!("token {id} is revoked"))
        }
    })
}

async fn list(session: &Session, owner: Owner, format: &Format) -> Result<(), Error> {
    let kinds = match owner {
        Owner { user: Some(name), .. } => {
            let user = TokenOwner::User(session.user(&name).await?.id);
            vec![(user.clone(), TokenKind::Personal), (user, TokenKind::Refresh)]
        }
        Owner { namespace: Some(name), .. } => {
            session.namespace(&name).await?;
            vec![(TokenOwner::Namespace(name), TokenKind::Robot)]
        }
        Owner { user: None, namespace: None } => Vec::new(),
    };
    let mut table = Table::new(["id", "kind", "name", "scopes", "created", "expires", "last used"]);
    for (owner, kind) in kinds {
        add(&mut table, &session.metadata, &owner, kind).await?;
    }
    table.print(format)
}

async fn add(table: &mut Table<7>, metadata: &Metadata, owner: &TokenOwner, kind: TokenKind) -> Result<(), Error> {
    let word = match kind {
        TokenKind::Personal => "personal",
        TokenKind::Robot => "robot",
        TokenKind::Refresh => "refresh",
    };
    for token in all(async |last: Option<&AccessToken>, count| {
        metadata.tokens(owner, kind, last.map(|last| last.id), count).await
    })
    .await?
    {
        let grants: Vec<_> = token.grants.iter().map(ToString::to_string).collect();
        table.push([
            token.id.get().to_string(),
            word.to_owned(),
            if kind == TokenKind::Refresh { maybe(token.client) } else { token.name.into() },
            grants.join(" "),
            moment(token.created_at),
            maybe(token.expires_at.map(moment)),
            maybe(token.last_used_at.map(moment)),
        ]);
    }
    Ok(())
}
