//! From what was typed, named and piped to the prompt.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use super::args::Chat;
use super::screen::Screen;
use crate::paths::FileError;

/// More than this from files or standard input is not a prompt.
const LARGEST: u64 = 64 << 20;
/// When nothing comes for so long, the user is told what is waited for.
const WONDER: Duration = Duration::from_secs(2);

/// Puts the prompt together: the words, then each file, then standard input
/// when it is not a terminal, each behind a blank line. The error is for the
/// user.
pub async fn gather(args: &Chat, screen: &Screen) -> Result<String, String> {
    let alone = args.prompt.as_slice() == ["-"];
    let mut parts = Vec::new();
    if !alone && !args.prompt.is_empty() {
        parts.push(args.prompt.join(" "));
    }
    for file in &args.files {
        let text = crate::paths::read_prompt_file(file, LARGEST).map_err(|problem: FileError| problem.to_string())?;
        parts.push(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    let piped = !args.no_stdin && !io::stdin().is_terminal();
    if alone || piped {
        let text = read_stdin(!parts.is_empty(), screen).await?;
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            parts.push(text.to_owned());
        }
    }
    let prompt = parts.join("\n\n");
    if prompt.trim().is_empty() {
        return Err(
            "there is no prompt: give words, --file FILE, or standard input; for example: routor chat \"why is the sky blue?\"".to_owned()
        );
    }
    Ok(prompt)
}

async fn read_stdin(beside_a_prompt: bool, screen: &Screen) -> Result<String, String> {
    let (first, silent) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let mut input = io::stdin().lock().take(LARGEST + 1);
        let mut bytes = vec![0; 8192];
        let read = input.read(&mut bytes)?;
        let _ = first.send(());
        bytes.truncate(read);
        input.read_to_end(&mut bytes).map(|_| bytes)
    });
    if beside_a_prompt && tokio::time::timeout(WONDER, silent).await.is_err() {
        screen.note("waiting for standard input, which goes behind the prompt; --no-stdin leaves it out");
    }
    let bytes = reading
        .await
        .map_err(|problem| problem.to_string())?
        .map_err(|problem: io::Error| format!("standard input cannot be read: {problem}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err("standard input is larger than 64 MiB, which is no prompt".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "standard input is not UTF-8 text".to_owned())
}
