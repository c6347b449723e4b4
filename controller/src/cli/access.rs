//! `backstay access`: by which ways people and programs come in, and the end of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use policy::Timestamp;
use policy::duration::Span;
use policy::id::Person;
use proto::invalid::moment;
use proto::operator::{
    CreateApiTokenRequest, CreateApiTokenResponse, EndAccessRequest, ListAccessRequest, ListAccessResponse,
    RevokeApiTokenRequest, SetPasswordRequest,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::connection::{answer, authorities, token_line};
use super::dry_run::DryRun;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line, moment as at, table};
use super::{Context, files};

/// Ways in, beside certificates.
#[derive(Debug, Subcommand)]
pub enum Access {
    /// Browsers that are signed in, passwords and tokens: yours, or everybody's for an auditor or admin.
    List(List),
    /// Ends all of them of one person.
    End(End),
    /// Sets your password for the pages.
    Password(PasswordCommand),
    /// Tokens by which programs ask as you, with less.
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Tokens of programs.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes one; it is shown once.
    Create(CreateToken),
    /// Ends one.
    Revoke(Revoke),
}

impl Access {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::End(end) => end.run(context).await,
            Self::Password(password) => password.run(context).await,
            Self::Token(TokenCommand::Create(create)) => create.run(context).await,
            Self::Token(TokenCommand::Revoke(revoke)) => revoke.run(context).await,
        }
    }
}

/// Lists ways in.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay access list
  backstay access list -o json")]
pub struct List {}

impl List {
    async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = "listing ways in";
        let found = answer(doing, client.list_access(ListAccessRequest {})).await?;
        context.output.show(&Ways::read(found).doing(|| doing.to_owned())?)?;
        Ok(Exit::Ok)
    }
}

/// Ends all ways in of one person.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay access end ben --reason \"left the firm\"

Browsers, links, the password and tokens end at once. A certificate is good until it runs out: `backstay init` makes one for 90 days.")]
pub struct End {
    /// Whose.
    person: Person,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl End {
    async fn run(self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let Self { person, reason, dry_run } = self;
        let request = EndAccessRequest { person: person.to_string(), reason, validate_only: dry_run.validate_only() };
        let ended = answer(&format!("ending the access of {person}"), client.end_access(request)).await?.ended;
        dry_run.say(context, &format!("{person} has no way in here any more but a certificate"));
        context.output.show(&Ended { person, ended })?;
        Ok(Exit::Ok)
    }
}

/// Sets your password for the pages.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay access password --file my-password

It is good for the person and the role of your certificate. 12 characters or more; a line break at the end is none of it.")]
pub struct PasswordCommand {
    /// The file with the password.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

impl PasswordCommand {
    async fn run(self, context: &mut Context) -> Result<Exit, Failure> {
        let bytes = Zeroizing::new(files::document(&self.file)?);
        let doing = || format!("reading {} as a password", self.file.display());
        let text = std::str::from_utf8(&bytes).doing(doing)?;
        let password = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)).to_owned();
        let mut client = context.connection.connect().await?;
        answer("setting your password", client.set_password(SetPasswordRequest { password })).await?;
        context.output.say("the password is set; whoever has it signs in to the pages as you");
        Ok(Exit::Ok)
    }
}

/// Makes a token by which a program asks as you, with less.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay access token create nagios --scope read --ttl 365d --out nagios.identity
  backstay check --identity nagios.identity
  backstay access token create rollout --scope read,enrol --ttl 8h

What it may do: read, answer (incidents), reject, stop, send-away, enrol (join tokens, machines), submit (what somebody signed). Never more
than you may, never making ways in, and it approves nothing: approving is a signature.")]
pub struct CreateToken {
    /// As people know it.
    name: String,
    /// What it may do, with commas between.
    #[arg(long, value_name = "WORDS", value_delimiter = ',', required = true)]
    scope: Vec<String>,
    /// How long it is good for, 1h to 400d.
    #[arg(long, value_name = "TIME")]
    ttl: Span,
    /// Write it with the CA's certificate into this new file, which only you may read: an identity as `--identity` takes it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl CreateToken {
    async fn run(self, context: &mut Context) -> Result<Exit, Failure> {
        let Self { name, scope, ttl, out } = self;
        let mut client = context.connection.connect().await?;
        let doing = format!("making token {name}");
        let ttl_seconds = u32::try_from(ttl.as_seconds()).unwrap_or(u32::MAX);
        let request = CreateApiTokenRequest { name: name.clone(), scope, ttl_seconds };
        let CreateApiTokenResponse { token, expires_at } = answer(&doing, client.create_api_token(request)).await?;
        let (token, expires_at) =
            (Zeroizing::new(token), moment("CreateApiTokenResponse.expires_at", expires_at).doing(|| doing)?);
        match &out {
            Some(path) => {
                let identity =
                    Zeroizing::new(token_line(&token).to_string() + &authorities(&context.connection.identity_file()?)?);
                files::write_secret(path, identity.as_bytes())?;
                context.output.say(&format!("token {name} is in {}", path.display()));
            }
            None => context.output.show(&TokenMade { name: name.clone(), token: token.to_string(), expires_at })?,
        }
        context.output.say(&format!(
            "good until {}; it is kept nowhere else. Its end before that: backstay access token revoke {name}",
            at(expires_at)
        ));
        Ok(Exit::Ok)
    }
}

/// Ends a token: whoever has it is nobody from then on.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay access token revoke nagios")]
pub struct Revoke {
    /// Which.
    name: String,

    #[command(flatten)]
    dry_run: DryRun,
}

impl Revoke {
    async fn run(self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = format!("revoking token {}", self.name);
        let request = RevokeApiTokenRequest { name: self.name.clone(), validate_only: self.dry_run.validate_only() };
        answer(&doing, client.revoke_api_token(request)).await?;
        self.dry_run.say(context, &format!("token {} is good for nothing any more", self.name));
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
struct Ended {
    person: Person,
    ended: u32,
}

impl View for Ended {
    fn text(&self) -> String {
        format!("ways in of {} that end: {}\n", self.person, self.ended)
    }
}

#[derive(Serialize)]
struct TokenMade {
    name: String,
    token: String,
    expires_at: Timestamp,
}

impl View for TokenMade {
    fn text(&self) -> String {
        format!("{}\n", line(&self.token))
    }
}

#[derive(Serialize)]
struct Ways {
    browsers: Vec<BrowserView>,
    passwords: Vec<PasswordView>,
    tokens: Vec<TokenView>,
}

#[derive(Serialize)]
struct BrowserView {
    person: String,
    role: String,
    via: String,
    began_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize)]
struct PasswordView {
    person: String,
    role: String,
    set_at: Timestamp,
}

#[derive(Serialize)]
struct TokenView {
    name: String,
    person: String,
    role: String,
    scope: Vec<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
}

impl Ways {
    fn read(found: ListAccessResponse) -> Result<Self, proto::invalid::Invalid> {
        let ListAccessResponse { browsers, passwords, tokens } = found;
        Ok(Self {
            browsers: browsers
                .into_iter()
                .map(|browser| {
                    let began_at = moment("SignedIn.began_at", browser.began_at)?;
                    let expires_at = moment("SignedIn.expires_at", browser.expires_at)?;
                    Ok(BrowserView { person: browser.person, role: browser.role, via: browser.via, began_at, expires_at })
                })
                .collect::<Result<_, _>>()?,
            passwords: passwords
                .into_iter()
                .map(|password| {
                    let set_at = moment("PasswordSet.set_at", password.set_at)?;
                    Ok(PasswordView { person: password.person, role: password.role, set_at })
                })
                .collect::<Result<_, _>>()?,
            tokens: tokens
                .into_iter()
                .map(|token| {
                    Ok(TokenView {
                        created_at: moment("ApiToken.created_at", token.created_at)?,
                        expires_at: moment("ApiToken.expires_at", token.expires_at)?,
                        used_at: token.used_at.map(|used| moment("ApiToken.used_at", used)).transpose()?,
                        name: token.name,
                        person: token.person,
                        role: token.role,
                        scope: token.scope,
                    })
                })
                .collect::<Result<_, _>>()?,
        })
    }
}

impl View for Ways {
    fn text(&self) -> String {
        let Self { browsers, passwords, tokens } = self;
        let rows = browsers
            .iter()
            .map(|browser| {
                let BrowserView { person, role, via, began_at, expires_at } = browser;
                [
                    format!("browser, by {via}"),
                    line(person),
                    line(role),
                    String::new(),
                    at(*began_at),
                    at(*expires_at),
                    String::new(),
                ]
            })
            .chain(passwords.iter().map(|PasswordView { person, role, set_at }| {
                ["password".to_owned(), line(person), line(role), String::new(), at(*set_at), String::new(), String::new()]
            }))
            .chain(tokens.iter().map(|token| {
                let TokenView { name, person, role, scope, created_at, expires_at, used_at } = token;
                let used = used_at.map_or_else(|| "never".to_owned(), at);
                [
                    format!("token {}", line(name)),
                    line(person),
                    line(role),
                    scope.join(","),
                    at(*created_at),
                    at(*expires_at),
                    used,
                ]
            }));
        table(["WAY", "PERSON", "ROLE", "SCOPE", "SINCE", "UNTIL", "USED"], rows)
    }
}
