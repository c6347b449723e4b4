//! The way to a controller: TLS 1.3 with the operator's certificate, and a deadline on every call.
//!
//! Whatever address is dialled, the server must show a certificate for the one name of [`names::CONTROLLER`], issued by a
//! CA that stands in the operator's own bundle. Nothing else is believed, not even what the system trusts.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper_util::rt::TokioIo;
use proto::names::{self, Address};
use proto::operator::operator_service_client::OperatorServiceClient;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::contexts::{self, Contexts, Known};
use super::failure::{Cause, Doing, Exit, Failure, chain};
use super::files;

/// How long a controller has for each answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long a controller has for its first word before the client says its own.
const GREETING: Duration = Duration::from_secs(1);

/// Where an operator's bundle lies.
#[cfg(not(windows))]
const IDENTITY: &str = "/etc/backstay/operator.pem";
/// Where an operator's bundle lies.
#[cfg(windows)]
const IDENTITY: &str = r"C:\ProgramData\Backstay\operator.pem";

/// Where a controller is when nothing says it.
const CONTROLLER: &str = "127.0.0.1:7445";

/// Which controller, and who asks. What is said on the command line goes before the environment, the environment before a context,
/// a context before the defaults; a context that is named on the command line goes before the environment, too.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The controller's port for operators [env: BACKSTAY_CONTROLLER] [default: 127.0.0.1:7445]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub controller: Option<Address>,

    /// Your certificate, its key and the CA, in one PEM file [env: BACKSTAY_IDENTITY]
    #[arg(long, global = true, value_name = "FILE")]
    pub identity: Option<PathBuf>,

    /// A controller by the name that you gave it (`backstay context set`) [env: BACKSTAY_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<contexts::Name>,
}

/// Where a connection goes, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Goal {
    controller: Address,
    identity: PathBuf,
}

/// What goes with every call.
#[derive(Debug, Clone)]
pub struct Said {
    /// A token, where there is no certificate.
    bearer: Option<AsciiMetadataValue>,
}

impl Interceptor for Said {
    /// Tells the controller how long the answer is waited for, so that it does not work for nobody.
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(DEADLINE);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// A connected client.
pub type Client = OperatorServiceClient<InterceptedService<Channel, Said>>;

impl Connection {
    /// What all that was said comes to. The file with the contexts is read only when it may matter.
    fn goal(
        &self,
        environment: impl Fn(&str) -> Option<OsString> + Copy,
        read: impl Fn(&Path) -> Result<Contexts, Failure>,
    ) -> Result<Goal, Failure> {
        let Self { controller, identity, context } = self;
        let said = |name: &str| environment(name).filter(|value| !value.is_empty());
        let address = from_environment::<Address>("BACKSTAY_CONTROLLER", said)?;
        let file = said("BACKSTAY_IDENTITY").map(PathBuf::from);
        // A context that was named on this very line was meant.
        let (address, file) = if context.is_some() { (None, None) } else { (address, file) };
        let (controller, identity) = (controller.clone().or(address), identity.clone().or(file));
        let known = match (&controller, &identity) {
            (Some(_), Some(_)) => Known::default(),
            (_, _) => {
                let named = from_environment::<contexts::Name>("BACKSTAY_CONTEXT", said)?;
                let named = context.clone().or(named);
                match contexts::path(environment) {
                    Ok(path) => read(&path)?.known(named.as_ref())?.map(|(_, known)| known.clone()).unwrap_or_default(),
                    Err(failure) if named.is_some() => return Err(failure),
                    // A service without a home has no contexts.
                    Err(_) => Known::default(),
                }
            }
        };
        let default = || CONTROLLER.parse().expect("the constant is an address");
        Ok(Goal {
            controller: controller.or(known.controller).unwrap_or_else(default),
            identity: identity.or(known.identity).unwrap_or_else(|| PathBuf::from(IDENTITY)),
        })
    }

    /// Where the operator's bundle lies.
    ///
    /// # Errors
    /// [`Failure`] when the context that is named is not there, or the contexts do not read.
    pub fn identity_file(&self) -> Result<PathBuf, Failure> {
        self.goal(contexts::environment, Contexts::read).map(|goal| goal.identity)
    }

    /// Connects, within the deadline.
    ///
    /// # Errors
    /// [`Failure`] that says whether the bundle, the network or the certificates are to blame.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let Goal { controller, identity } = self.goal(contexts::environment, Contexts::read)?;
        let doing = || format!("connecting to the controller at {controller}");
        let (config, bearer) = bundle(&identity)?;
        let config = Arc::new(config);
        let address = controller.clone();
        let dial = tower::service_fn(move |_: Uri| {
            let (config, address) = (Arc::clone(&config), address.clone());
            async move {
                let tcp = TcpStream::connect(address.as_str()).await?;
                tcp.set_nodelay(true)?;
                let name = ServerName::try_from(names::CONTROLLER).expect("the constant is a DNS name");
                greeted(TlsConnector::from(config).connect(name, tcp).await?).await.map(TokioIo::new)
            }
        });
        // The URI is never resolved: `dial` goes to the address, and TLS is below what tonic sees.
        let endpoint = Endpoint::from_static("http://controller.backstay.internal");
        let connected = tokio::time::timeout(DEADLINE, endpoint.connect_with_connector(dial)).await;
        let late = || {
            Failure::new(Exit::Timeout, doing())
                .because(format!("no answer within {} s", DEADLINE.as_secs()))
                .next("is the address right, and does a firewall drop the port? --controller HOST:PORT")
        };
        let channel = connected.map_err(|_| late())?.map_err(|error| {
            let said = chain(&error);
            let says = |words: &str| said.iter().any(|line| line.contains(words));
            let (exit, next) = if says("received fatal alert") {
                (Exit::Auth, "the controller does not take this certificate: use one that its own CA issued, --identity FILE")
            } else if says("certificate") {
                (Exit::Auth, "is this the controller that issued your bundle? --controller HOST:PORT, --identity FILE")
            } else {
                (Exit::Error, "is the controller running, and is this its port for operators? --controller HOST:PORT")
            };
            Failure::new(exit, doing()).because(error).next(next)
        })?;
        let client = OperatorServiceClient::with_interceptor(channel, Said { bearer });
        Ok(client.max_decoding_message_size(proto::MAX_MESSAGE))
    }
}

fn from_environment<T: FromStr<Err: Into<Cause>>>(
    name: &str,
    said: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<T>, Failure> {
    let Some(value) = said(name) else { return Ok(None) };
    let wrong = || Failure::new(Exit::Usage, format!("reading {name} of the environment"));
    let text = value.to_str().ok_or_else(|| wrong().because("it is no text"))?;
    text.parse().map(Some).map_err(|error: T::Err| wrong().because(error))
}

/// The stream once the controller has spoken. In TLS 1.3 a client is done before the server has looked at its certificate; who writes
/// on at once may lose the alert that turns the certificate away. A controller speaks first, and what it says is read again by HTTP/2.
async fn greeted(mut stream: TlsStream<TcpStream>) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let mut first = vec![0; 256];
    let length = match tokio::time::timeout(GREETING, stream.read(&mut first)).await {
        Ok(Ok(0)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the controller closed the connection")),
        Ok(read) => read?,
        // Silent: then HTTP/2 finds out what it is.
        Err(_) => 0,
    };
    first.truncate(length);
    let (reading, writing) = tokio::io::split(stream);
    Ok(tokio::io::join(io::Cursor::new(first).chain(reading), writing))
}

/// The answer to a call, within the deadline.
///
/// # Errors
/// [`Failure`] with what the controller said, or that it said nothing.
pub async fn answer<T>(doing: &str, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Failure::refused(doing, &status)),
        Err(_) => Err(Failure::refused(doing, &Status::deadline_exceeded(format!("no answer within {} s", DEADLINE.as_secs())))),
    }
}

/// The operator's own certificate in a bundle, in DER.
///
/// # Errors
/// [`Failure`] that names the file.
pub fn own_certificate(path: &Path) -> Result<CertificateDer<'static>, Failure> {
    let bytes = bundle_bytes(path)?;
    let doing = || format!("reading {} as an operator's bundle", path.display());
    CertificateDer::pem_slice_iter(&bytes)
        .next()
        .transpose()
        .doing(doing)?
        .ok_or_else(|| Failure::new(Exit::Auth, doing()).because("expected your certificate, found none"))
}

fn bundle_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    files::document(path).map(Zeroizing::new).map_err(|failure| {
        let exit = failure.exit();
        Failure::new(if exit == Exit::NotFound { Exit::Auth } else { exit }, "reading your identity")
            .because(failure)
            .next("`backstay init` makes operator.pem on the controller's machine; name yours with --identity FILE")
    })
}

/// What stands before a token in an identity that has one in place of a certificate.
const TOKEN: &str = "backstay-token ";

/// Reads an operator's bundle: the certificate first, then its key and the CA certificates in any order; or a token in the first line, and the
/// CA certificates.
fn bundle(path: &Path) -> Result<(ClientConfig, Option<AsciiMetadataValue>), Failure> {
    let bytes = bundle_bytes(path)?;
    let doing = || format!("reading {} as an operator's bundle", path.display());
    let bearer = token(&bytes).map(|token| {
        let value = AsciiMetadataValue::try_from(format!("Bearer {}", *token).into_bytes());
        value.doing(doing).map(|mut value| {
            value.set_sensitive(true);
            value
        })
    });
    let bearer = bearer.transpose()?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().doing(doing)?;
    let (own, authorities) = certificates.split_at(usize::from(bearer.is_none()).min(certificates.len()));
    if authorities.is_empty() {
        let expected = if bearer.is_some() { "a CA's certificate" } else { "your certificate and a CA's" };
        let found = certificates.len();
        return Err(Failure::new(Exit::Auth, doing()).because(format!("expected {expected}, found {found}")));
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).doing(doing)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .doing(doing)?
        .with_root_certificates(roots);
    let mut config = if bearer.is_some() {
        builder.with_no_client_auth()
    } else {
        let key = PrivateKeyDer::from_pem_slice(&bytes).doing(doing)?;
        builder.with_client_auth_cert(own.to_vec(), key).doing(doing)?
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((config, bearer))
}

/// The token in the first line of an identity, if it begins with one.
fn token(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().next()?.strip_prefix(TOKEN).map(|token| Zeroizing::new(token.trim().to_owned()))
}

/// The first line of an identity whose way in is this token.
pub fn token_line(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{TOKEN}{token}\n"))
}

/// The CA certificates of a bundle, as they stand there.
///
/// # Errors
/// [`Failure`] that names the file.
pub fn authorities(path: &Path) -> Result<String, Failure> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let bytes = bundle_bytes(path)?;
    let own = usize::from(token(&bytes).is_none());
    let text = String::from_utf8_lossy(&bytes);
    let blocks = text.split(BEGIN).skip(1 + own).filter_map(|rest| rest.split_once(END).map(|(block, _)| block));
    Ok(blocks.map(|block| format!("{BEGIN}{block}{END}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_goes_before_the_environment_that_before_a_context_and_that_before_the_default() {
        let text = "current = \"contoso\"\n[context.contoso]\ncontroller = \"contoso:7445\"\nidentity = \"contoso.pem\"\n\
                    [context.fabrikam]\ncontroller = \"fabrikam:7445\"\n";
        let goal = |line: &[&str], environment: &[(&str, &str)]| {
            #[derive(clap::Parser)]
            struct Line {
                #[command(flatten)]
                connection: Connection,
            }
            let connection = <Line as clap::Parser>::parse_from(std::iter::once(&"x").chain(line)).connection;
            let environment = |name: &str| {
                let found = environment.iter().chain(&[("HOME", "/h"), ("APPDATA", "/h")]).find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let goal = connection.goal(environment, |_| toml::from_str(text).doing(String::new));
            goal.map(|Goal { controller, identity }| format!("{controller} {}", identity.display()))
                .map_err(|failure| failure.exit())
        };
        let known = |text: &str| Ok(text.to_owned());
        let by_env = [("BACKSTAY_CONTROLLER", "env:1"), ("BACKSTAY_IDENTITY", "env.pem")];
        assert_eq!(goal(&[], &[]), known("contoso:7445 contoso.pem"));
        assert_eq!(goal(&["--context", "fabrikam"], &[]), Ok(format!("fabrikam:7445 {IDENTITY}")));
        assert_eq!(goal(&[], &[("BACKSTAY_CONTEXT", "fabrikam")]), Ok(format!("fabrikam:7445 {IDENTITY}")));
        assert_eq!(goal(&["--context", "contoso"], &[("BACKSTAY_CONTEXT", "fabrikam")]), known("contoso:7445 contoso.pem"));
        assert_eq!(goal(&[], &by_env), known("env:1 env.pem"));
        assert_eq!(goal(&[], &by_env[..1]), known("env:1 contoso.pem"));
        assert_eq!(goal(&["--controller", "line:1"], &by_env), known("line:1 env.pem"));
        assert_eq!(goal(&["--context", "contoso"], &by_env), known("contoso:7445 contoso.pem"), "it was meant");
        assert_eq!(goal(&["--context", "contoso", "--identity", "my.pem"], &by_env), known("contoso:7445 my.pem"));
        assert_eq!(goal(&["--context", "nowhere"], &[]), Err(Exit::NotFound));
        assert_eq!(goal(&[], &[("BACKSTAY_CONTEXT", "a b")]), Err(Exit::Usage));
        assert_eq!(goal(&[], &[("BACKSTAY_CONTROLLER", "nowhere")]), Err(Exit::Usage));
        assert_eq!(goal(&[], &[("BACKSTAY_CONTROLLER", ""), ("BACKSTAY_CONTEXT", "")]), known("contoso:7445 contoso.pem"));
    }

    #[test]
    fn what_is_no_bundle_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("operator.pem");
        assert_eq!(bundle(&path).expect_err("missing").exit(), Exit::Auth);
        for content in [
            "",
            "hello",
            "backstay-token x",
            "backstay-token \u{fe}\n",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, content).expect("written");
            let report = bundle(&path).expect_err("no bundle").report();
            assert!(report.contains("operator.pem"), "{report}");
        }
    }
}
