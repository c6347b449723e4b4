//! `backstay token create`: lets one host join, once, for a while.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::duration::Span;
use policy::id::ServerName;
use proto::invalid::moment;
use proto::operator::{CreateTokenRequest, CreateTokenResponse};
use serde::Serialize;

use super::connection::answer;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, moment as at};
use super::{Context, files};

/// Join tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Makes a token with which one host joins the estate, once.
    Create(Create),
}

impl Token {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::Create(create) => create.run(context).await,
        }
    }
}

/// Makes a join token.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay token create --server EX1 --out EX1.token
  backstay token create --server EX1 --ttl 8h > EX1.token")]
pub struct Create {
    /// The server that may join with it.
    #[arg(long, value_name = "NAME")]
    server: ServerName,

    /// How long it is good for, 1m to 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: u32,

    /// Write it into this new file, which only you may read, and not to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Create {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let request = CreateTokenRequest { server: self.server.to_string(), ttl_seconds: self.ttl };
        let doing = format!("making a join token for {}", self.server);
        let CreateTokenResponse { token, expires_at } = answer(&doing, client.create_token(request)).await?;
        let expires_at = moment("CreateTokenResponse.expires_at", expires_at).doing(|| doing)?;
        match &self.out {
            Some(path) => {
                files::write_secret(path, format!("{token}\n").as_bytes())?;
                context.output.say(&format!("the token of {} is in {}", self.server, path.display()));
            }
            None => context.output.show(&TokenView { server: self.server.clone(), token, expires_at })?,
        }
        context.output.say(&format!(
            "good once, until {}; bring it to {} as a file that only its agent may read",
            at(expires_at),
            self.server
        ));
        Ok(Exit::Ok)
    }
}

fn ttl(text: &str) -> Result<u32, String> {
    let span: Span = text.parse().map_err(|error: policy::duration::InvalidSpan| error.to_string())?;
    let seconds = u32::try_from(span.as_seconds()).unwrap_or(u32::MAX);
    if (60..=604_800).contains(&seconds) { Ok(seconds) } else { Err(format!("expected 1m to 7d, found {span}")) }
}

#[derive(Serialize)]
struct TokenView {
    server: ServerName,
    token: String,
    expires_at: Timestamp,
}

impl View for TokenView {
    fn text(&self) -> String {
        format!("{}\n", self.token)
    }
}
