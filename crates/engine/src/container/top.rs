//! The processes of a container, as the host's `ps` prints them.

use gantry_api_types::container::TopResponse;
use gantry_errdefs::Error;
use tokio::process::Command;

use crate::{Engine, Result, fail};

impl Engine {
    /// Lists the processes of a container in the form that `ps` gives with `ps_args` (empty: `-ef`).
    pub async fn container_top(&self, reference: &str, ps_args: &str) -> Result<TopResponse> {
        let ps_args = if ps_args.is_empty() { "-ef" } else { ps_args };
        judge(ps_args)?;
        let record = self.find(reference)?.record();
        if !record.state.status.is_running() {
            return Err(fail::not_running(&record.id));
        }
        let pids = self.services.tasks.pids(&record.id).await.map_err(fail::flat)?;
        let pids: Vec<u32> = pids.into_iter().map(|process| process.pid).collect();
        let args: Vec<&str> = ps_args.split(' ').filter(|arg| !arg.is_empty()).collect();
        let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        // Only those processes if `ps` lets us; with an option that also selects it does not.
        let narrow = Command::new("ps")
            .args(&args)
            .arg(format!("-q{list}"))
            .output()
            .await;
        let output = match narrow {
            Ok(output) if output.status.success() => output,
            _ => Command::new("ps")
                .args(&args)
                .output()
                .await
                .map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => {
                        Error::internal("ps: exec: \"ps\": executable file not found in $PATH")
                    }
                    _ => Error::internal(format!("ps: {e}")),
                })?,
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().next().filter(|line| !line.is_empty());
            return Err(Error::internal(
                line.map_or_else(|| format!("ps: {}", output.status), str::to_owned),
            ));
        }
        let top = parse(&String::from_utf8_lossy(&output.stdout), &pids)?;
        self.tell(&record, "top", &[]);
        Ok(top)
    }
}

/// Refuses a column of pids under another title: the lines are found by it.
fn judge(ps_args: &str) -> Result<()> {
    for word in ps_args.split([' ', ',', '\t']) {
        if let Some((field, title)) = word.split_once('=')
            && title.starts_with("PID")
            && !field.trim_start_matches("-o").eq_ignore_ascii_case("pid")
        {
            return Err(Error::internal(format!("specifying \"{word}\" is not allowed")));
        }
    }
    Ok(())
}

/// The table of those lines that are about one of `pids`.
fn parse(output: &str, pids: &[u32]) -> Result<TopResponse> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::internal("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    let mut ours = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let pid = fields.get(column).copied().unwrap_or_default();
        // With `m`, a process's threads follow it without its pid.
        if pid != "-" {
            let number: u32 = pid
                .parse()
                .map_err(|e| Error::internal(format!("Unexpected pid '{pid}': {e}")))?;
            ours = pids.contains(&number);
        }
        if ours {
            let last = titles.len() - 1;
            let mut row: Vec<String> = fields
                .iter()
                .take(last)
                .map(|field| (*field).to_owned())
                .collect();
            row.push(fields.get(last..).unwrap_or_default().join(" "));
            processes.push(row);
        }
    }
    Ok(TopResponse { processes, titles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_takes_the_rest_and_threads_follow_their_process() {
        let output = "  PID COMMAND\n    7 a b\n    - x\n    8 no\n    - no\n";
        let top = parse(output, &[7]).unwrap();
        assert_eq!(top.titles, ["PID", "COMMAND"]);
        assert_eq!(top.processes, [vec!["7", "a b"], vec!["-", "x"]]);
        assert_eq!(
            parse("A B\n", &[1]).unwrap_err().to_string(),
            "Couldn't find PID field in ps output"
        );
        assert!(parse("PID\nx\n", &[1]).is_err());
    }

    #[test]
    fn another_column_may_not_be_called_pid() {
        assert!(judge("-o uid=PID").is_err());
        assert!(judge("-eo pid=PID,uid").is_ok() || judge("-o pid=PID").is_ok());
        assert!(judge("-ef").is_ok());
    }
}
