//! `backstay sign-in`: a link by which a browser is you, once.

use clap::Args;
use policy::Timestamp;
use proto::invalid::moment;
use proto::operator::{CreateSignInRequest, CreateSignInResponse};
use serde::Serialize;

use super::Context;
use super::connection::answer;
use super::failure::{Doing, Exit, Failure};
use super::output::{View, line, moment as at};

/// Makes a link by which a browser shows the pages to you, in the role of your certificate.
#[derive(Debug, Args)]
#[command(before_help = "Examples:
  backstay sign-in
  xdg-open \"$(backstay sign-in)\"

Where controller.toml has no [pages], they are on the controller's own machine. From another one, with the port forwarded:
  ssh -L 7446:127.0.0.1:7446 CONTROLLER")]
pub struct SignIn {
    /// On the controller's own machine, whatever becomes of TLS or of whoever vouches for people elsewhere.
    #[arg(long)]
    loopback: bool,
}

impl SignIn {
    pub(super) async fn run(&self, context: &mut Context) -> Result<Exit, Failure> {
        let mut client = context.connection.connect().await?;
        let doing = "making a link to sign in by";
        let CreateSignInResponse { link, expires_at } =
            answer(doing, client.create_sign_in(CreateSignInRequest { loopback: self.loopback })).await?;
        let expires_at = moment("CreateSignInResponse.expires_at", expires_at).doing(|| doing.to_owned())?;
        context.output.show(&LinkView { link, expires_at })?;
        context.output.say(&format!("good once, until {}", at(expires_at)));
        Ok(Exit::Ok)
    }
}

#[derive(Serialize)]
struct LinkView {
    link: String,
    expires_at: Timestamp,
}

impl View for LinkView {
    fn text(&self) -> String {
        format!("{}\n", line(&self.link))
    }
}
