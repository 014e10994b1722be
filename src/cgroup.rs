//! The memory that the system lets the process take.

use std::path::{Path, PathBuf};

/// What the process takes beside `--memory-limit`, at the most.
const BESIDE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// The least memory that a control group (version 2, or 1) of this process leaves it, and the file that says so. `None` where
/// none has a limit.
pub fn limit() -> Option<(PathBuf, u64)> {
    let of_process = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_in(Path::new("/sys/fs/cgroup"), &of_process)
}

/// Says what is wrong where that is less than the process may need.
pub fn complaint(memory_limit_bytes: u64) -> Option<String> {
    let (file, bytes) = limit()?;
    let needed = memory_limit_bytes + BESIDE_LIMIT_BYTES;
    (bytes < needed).then(|| {
        format!(
            "{} allows {bytes} bytes, and --memory-limit with 64 MiB beside it is {needed}: the system may kill this process; \
             raise the one or lower the other",
            file.display()
        )
    })
}

/// `0::/a/b` (version 2), or `4:memory:/a/b` (version 1): each group from there up may have a limit.
fn limit_in(root: &Path, of_process: &str) -> Option<(PathBuf, u64)> {
    let groups = of_process.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_start_matches('/');
        match controllers {
            "" => Some((root.to_owned(), path, "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some((root.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    let limits = groups.flat_map(|(root, path, name)| {
        // In a container, the group's own path may not be there: then the root is the group.
        let up: Vec<PathBuf> = Path::new(path).ancestors().map(|group| root.join(group).join(name)).collect();
        up.into_iter().filter_map(|file| {
            let text = std::fs::read_to_string(&file).ok()?;
            // `max` is no limit, and so is what version 1 says where there is none.
            let bytes: u64 = text.trim().parse().ok().filter(|bytes| *bytes < u64::MAX / 4)?;
            Some((file, bytes))
        })
    });
    limits.min_by_key(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let group = root.path().join("kube/pod");
        fs::create_dir_all(&group).expect("made");
        assert_eq!(limit_in(root.path(), "0::/kube/pod\n"), None);
        fs::write(group.join("memory.max"), "max\n").expect("written");
        assert_eq!(limit_in(root.path(), "0::/kube/pod\n"), None);
        let above = root.path().join("kube/memory.max");
        fs::write(&above, "134217728\n").expect("written");
        assert_eq!(limit_in(root.path(), "0::/kube/pod\n"), Some((above, 134_217_728)));
        let first = root.path().join("memory/old");
        fs::create_dir_all(&first).expect("made");
        fs::write(first.join("memory.limit_in_bytes"), "100\n").expect("written");
        fs::write(root.path().join("memory/memory.limit_in_bytes"), "9223372036854771712\n").expect("written");
        let of_version_1 = "12:cpu:/old\n4:cpuacct,memory:/old\n";
        assert_eq!(limit_in(root.path(), of_version_1), Some((first.join("memory.limit_in_bytes"), 100)));
        assert_eq!(limit_in(root.path(), "nonsense"), None);
    }
}
