//! The main job on Windows: `backstay-agent.exe` on a Windows machine with Exchange, a controller on Linux, mutual TLS between them,
//! and what is served read from outside.

mod job;
mod kills;
mod scene;
