//! What is sent to pages that are open: the same page again, when it reads otherwise than it was sent last.
//!
//! A page is made once for all who look at it, and only when a row was written or an agent came or went: while nothing happens, nothing is
//! asked and nothing is sent, however many look.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use policy::id::Person;
use policy::trust::PersonRole;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::access::Who;
use super::{LIVE, Place, Shown, Trouble, Web};
use crate::store::Via;

/// From one look at whether anything happened to the next.
const BEAT: Duration = Duration::from_millis(500);

/// After this time a browser asks again that was told why its page is not live.
const AGAIN: Duration = Duration::from_secs(5);

/// A page that counts days is made anew after this time though nothing happened; and whoever was signed out meanwhile sees no more.
const OLD: Duration = Duration::from_secs(60);

/// A page is made again at the earliest after this many times as long as it took to make: a large estate that is busy is not kept busier by
/// who looks at it.
const EASE: u32 = 100;

/// But nobody looks at what is older than this.
const EASE_AT_MOST: Duration = Duration::from_secs(5);

/// Pages that are kept.
const KEPT: usize = 1_000;

/// The newest of each page that somebody looks at, once for each role: what a role may not do, its pages do not offer.
#[derive(Debug, Default)]
pub(super) struct Board {
    pages: Mutex<BTreeMap<Seen, Kept>>,
}

/// For whom a page reads the same: everybody of a role, but for one that shows what is a person's own.
type Seen = (Place, PersonRole, Option<(Person, Via)>);

fn seen(place: &Place, who: &Who) -> Seen {
    let own = matches!(place, Place::Access);
    (place.clone(), who.role, own.then(|| (who.person.clone(), who.via)))
}

#[derive(Debug)]
struct Kept {
    as_of: Happened,
    made_at: Instant,
    took: Duration,
    main: Arc<str>,
}

/// Stays the same as long as no row is written, and nobody comes and nobody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Happened {
    commits: u64,
    turns: u64,
}

impl Happened {
    fn until_now(web: &Web) -> Self {
        Self { commits: web.parts.store.commits(), turns: web.parts.connections.turns() }
    }
}

impl Kept {
    /// Whether it is too soon to make it anew, whatever happened.
    fn is_eased(&self) -> bool {
        self.made_at.elapsed() < (self.took * EASE).min(EASE_AT_MOST)
    }
}

impl Board {
    /// The page, and as of what; it may be a little old, and then says so.
    async fn show(&self, web: &Web, place: &Place, who: &Who) -> Result<(Happened, Arc<str>), Trouble> {
        // Held while the page is made: a hundred who look at it wait for one.
        let mut pages = self.pages.lock().await;
        // Read before the rows are: what happens meanwhile makes it old.
        let now = Happened::until_now(web);
        let key = seen(place, who);
        let before = pages.get(&key);
        if let Some(kept) = before.filter(|kept| (kept.as_of == now && kept.made_at.elapsed() < OLD) || kept.is_eased()) {
            return Ok((kept.as_of, Arc::clone(&kept.main)));
        }
        let began = Instant::now();
        let mut main: Arc<str> = web.show(place, who).await?.main.into();
        // The very same, so that those who were sent it see at once that it reads as before.
        if let Some(same) = before.map(|kept| &kept.main).filter(|before| **before == main) {
            main = Arc::clone(same);
        }
        keep(&mut pages, key, Kept { as_of: now, made_at: Instant::now(), took: began.elapsed(), main: Arc::clone(&main) });
        Ok((now, main))
    }

    /// Whether `show` would give the one as of then again.
    async fn has_no_newer(&self, key: &Seen, as_of: Happened) -> bool {
        self.pages.lock().await.get(key).is_some_and(|kept| kept.as_of == as_of && kept.is_eased())
    }

    /// The page for whoever asks for it: as of now, and kept, so that what is sent to it first is not older than itself.
    pub(super) async fn ask(&self, web: &Web, place: &Place, who: &Who) -> Result<Shown, Trouble> {
        let (as_of, began) = (Happened::until_now(web), Instant::now());
        let shown = web.show(place, who).await?;
        // Whoever holds it makes this page, or another; nobody waits here for that.
        if let Ok(mut pages) = self.pages.try_lock() {
            let main = shown.main.as_str().into();
            keep(&mut pages, seen(place, who), Kept { as_of, made_at: Instant::now(), took: began.elapsed(), main });
        }
        Ok(shown)
    }
}

fn keep(pages: &mut BTreeMap<Seen, Kept>, key: Seen, page: Kept) {
    if pages.len() >= KEPT {
        pages.clear();
    }
    pages.insert(key, page);
}

/// Which page.
#[derive(Deserialize)]
pub(super) struct Asked {
    page: String,
}

/// A page that is open asks to be told.
pub(super) async fn live(State(web): State<Web>, headers: HeaderMap, Query(Asked { page }): Query<Asked>) -> Response {
    let Some(place) = Place::at(&page) else { return StatusCode::NOT_FOUND.into_response() };
    match web.who(&headers).await {
        Ok(Some(_)) => {}
        Ok(None) => return StatusCode::FORBIDDEN.into_response(),
        Err(trouble) => return only_away(&trouble),
    }
    let Ok(seat) = web.seats.clone().try_acquire_owned() else {
        return only_away(&tonic::Status::resource_exhausted(format!("expected at most {LIVE} pages that are live")).into());
    };
    let (events, stream) = mpsc::channel::<Result<Event, Infallible>>(1);
    let tasks = web.tasks.clone();
    tasks.spawn(async move {
        tell(&web, &place, &headers, &events).await;
        drop(seat);
    });
    Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::default()).into_response()
}

/// Says why a page is not live. The stream ends with it, and the browser asks again.
fn away(trouble: &Trouble) -> Event {
    Event::default().event("away").data(trouble.headline.to_lowercase()).retry(AGAIN)
}

/// A browser that is refused otherwise asks never again.
fn only_away(trouble: &Trouble) -> Response {
    Sse::new(tokio_stream::once(Ok::<_, Infallible>(away(trouble)))).into_response()
}

/// What was sent last.
struct Sent {
    key: Seen,
    as_of: Happened,
    at: Instant,
    main: Arc<str>,
}

impl Sent {
    /// Whether nothing else would be sent now. Then nobody asks who looks, either.
    async fn holds(&self, web: &Web) -> bool {
        self.at.elapsed() < OLD && (self.as_of == Happened::until_now(web) || web.board.has_no_newer(&self.key, self.as_of).await)
    }
}

/// Sends the page whenever it reads otherwise, until whoever looks goes, or must.
async fn tell(web: &Web, place: &Place, headers: &HeaderMap, events: &mpsc::Sender<Result<Event, Infallible>>) {
    let mut beat = tokio::time::interval(BEAT);
    let mut sent: Option<Sent> = None;
    loop {
        tokio::select! {
            () = web.stop.cancelled() => return,
            () = events.closed() => return,
            _ = beat.tick() => {}
        }
        if let Some(sent) = &sent
            && sent.holds(web).await
        {
            continue;
        }
        let made = match web.who(headers).await {
            Ok(Some(who)) => web.board.show(web, place, &who).await.map(|page| Some((seen(place, &who), page))),
            Ok(None) => Ok(None),
            Err(trouble) => Err(trouble),
        };
        let (event, last) = match made {
            Ok(Some((key, (as_of, main)))) => {
                let same = sent.as_ref().is_some_and(|before| before.main == main);
                sent = Some(Sent { key, as_of, at: Instant::now(), main: Arc::clone(&main) });
                if same {
                    continue;
                }
                (Event::default().data(&*main), false)
            }
            Ok(None) => (Event::default().event("gone").data("signed out"), true),
            Err(trouble) => (away(&trouble), true),
        };
        if events.send(Ok(event)).await.is_err() || last {
            return;
        }
    }
}
