//! The exports of one folder, read: what they are, and of which servers.

use std::sync::Arc;

use policy::id::ServerName;

use crate::assemble::{AssembleError, Assembly, Readable, Unread, one};
use crate::export::Content;
use crate::server::{self, Chosen, ServerError};

/// Exports that lie together. Read one by one, so that no more than one file is in memory at a time.
#[derive(Debug, Clone, Default)]
pub struct Exports {
    files: Vec<Arc<Readable>>,
    /// Said of the whole organisation, in a folder above.
    above: Vec<Arc<Readable>>,
    notes: Vec<String>,
    unread: Vec<Unread>,
    given: bool,
}

impl Exports {
    /// Reads one more file. What to call it in messages is usually its path.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.given = true;
        let content = match Content::read(bytes) {
            Ok(content) => content,
            Err(error) => return self.unread.push(Unread { file: name.to_owned(), error }),
        };
        if let Some(same) = self.files.iter().find(|file| file.content == content) {
            self.notes.push(format!("{name}: the same as {}, read once", same.file));
            return;
        }
        self.notes.push(format!("{name}: {}", content.summary()));
        self.unread.extend(content.unread().into_iter().map(|error| Unread { file: name.to_owned(), error }));
        self.files.push(Arc::new(Readable { file: name.to_owned(), content }));
    }

    /// Adds what is said of the whole organisation `above` these, as in the folder that holds a folder for each server. What lies
    /// nearer is to be added first.
    pub fn extend_from(&mut self, above: &Self) {
        for file in above.files.iter().chain(&above.above).filter(|file| file.content.of_organisation()) {
            self.notes.push(format!("{}: {}", file.file, file.content.summary()));
            self.above.push(Arc::clone(file));
        }
    }

    /// Whether all that was read, if anything, is of the organisation and of no server in particular.
    pub fn only_of_organisation(&self) -> bool {
        self.unread.is_empty() && self.files.iter().all(|file| file.content.of_organisation())
    }

    /// Merges what belongs to one server: the one asked for, else the one to which the exports point. When they point to
    /// several alike and none was asked for, each becomes a sight of its own; exports that name no server are then nobody's.
    ///
    /// # Errors
    /// [`AssembleError`] when nothing could be read, or no server can be told.
    pub fn assemble(&self, server: Option<&ServerName>) -> Result<Vec<Assembly>, AssembleError> {
        let Self { files, above, notes, unread, given } = self;
        if !given {
            return Err(AssembleError::NoExports);
        }
        let own: Vec<&Readable> = files.iter().map(Arc::as_ref).collect();
        let files: Vec<&Readable> = own.iter().copied().chain(above.iter().map(Arc::as_ref)).collect();
        if files.is_empty() {
            return Err(AssembleError::NothingRead(unread.clone()));
        }
        let told = match server {
            None => server::several(own.iter().map(|file| &file.content)),
            Some(_) => None,
        };
        let chosen = match told {
            Some(names) => Err(ServerError::Several(names)),
            // A list from above may be old or of some servers only: it decides where the exports themselves do not.
            None => server::choose(own.iter().map(|file| &file.content), server)
                .or_else(|_| server::choose(files.iter().map(|file| &file.content), server)),
        };
        match chosen {
            Ok(chosen) => Ok(vec![one(&files, &chosen, notes.clone(), unread.clone())]),
            Err(ServerError::Several(names)) => {
                let (own, nobodys): (Vec<&Readable>, Vec<&Readable>) =
                    files.into_iter().partition(|file| file.content.names_its_server());
                let mut notes = notes.clone();
                notes.extend(nobodys.iter().map(|file| {
                    format!(
                        "{}: left out, it names no server and these exports are of {}; put those of each server into a folder of its own",
                        file.file,
                        names.len()
                    )
                }));
                let several = format!("the exports are of {}", server::list(&names));
                let each = |name| Chosen { name, because: several.clone() };
                Ok(names.iter().map(|name| one(&own, &each(name.clone()), notes.clone(), unread.clone())).collect())
            }
            Err(error @ ServerError::Nobody) => Err(AssembleError::Server(error)),
        }
    }
}
