//! Why the system refuses a path: what is in the way, whose it is, and what to do about it. "Permission
//! denied" alone leaves all of that to be found out.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::geteuid;

/// A refusal, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// What is wrong.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.found, self.remedy)
    }
}

/// Explains what the system has said of this path.
#[must_use]
pub fn explain(path: &Path, error: &io::Error) -> PathError {
    let is = |errnos: &[Errno]| Errno::from_io_error(error).is_some_and(|it| errnos.contains(&it));
    let (found, remedy) = match error.kind() {
        io::ErrorKind::NotFound => missing(path),
        io::ErrorKind::PermissionDenied => denied(path, error),
        io::ErrorKind::ReadOnlyFilesystem => (
            format!("{error}: its file system is mounted read-only"),
            "mount it writable, or name a place that is writable: under systemd one of StateDirectory= or ReadWritePaths=, in a container a volume".to_owned(),
        ),
        io::ErrorKind::NotADirectory => (
            format!("{error}: a part of the path is a file"),
            "correct the path, or move that file away".to_owned(),
        ),
        io::ErrorKind::IsADirectory => (
            "it is a folder, and a file is wanted".to_owned(),
            "name the file in it; container engines make a folder where a file that is to be mounted is missing".to_owned(),
        ),
        _ if is(&[Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP]) => (
            format!("{error}: its file system keeps no locks, without which two bridges could write to one place"),
            "use a local disk, or mount the network file system with locks (for NFS: without `nolock`, with its lock service running)".to_owned(),
        ),
        _ if is(&[Errno::LOOP]) => (
            format!("{error}: a link stands where a file should, and it is not followed"),
            "move the link away".to_owned(),
        ),
        _ => (
            error.to_string(),
            "look at the disk, and at the system's log".to_owned(),
        ),
    };
    PathError { found, remedy }
}

/// The first part of the path that is not there.
fn missing(path: &Path) -> (String, String) {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let parts = path.ancestors().filter(|part| !part.as_os_str().is_empty());
    let first = parts.take_while(|part| !is_there(part)).last();
    let first = first.unwrap_or(path).display();
    (
        format!("{first} does not exist"),
        format!(
            "make the folder, writable for {}, or mount its disk; or correct the path",
            this_user()
        ),
    )
}

/// Whose the part of the path is that is in the way.
fn denied(path: &Path, error: &io::Error) -> (String, String) {
    let parts = path.ancestors().filter(|part| !part.as_os_str().is_empty());
    // Of what lies in a folder that may not be entered nothing can be seen: the folder is in the way.
    // So it is where there is nothing yet, and it may not be written.
    let found = parts
        .map(|part| (part, part.metadata()))
        .find_map(|(part, it)| Some((part, it.ok()?)));
    let Some((part, metadata)) = found else {
        return (error.to_string(), "correct the path".to_owned());
    };
    let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let me = geteuid();
    let found = format!(
        "{error}: {} belongs to {} and group {gid}, with mode {mode:04o}, and this is {}",
        part.display(),
        user(uid),
        this_user()
    );
    let is_owner = me.as_raw() == uid;
    let remedy = if is_owner && mode & 0o600 != 0o600 {
        format!("make it writable: chmod -R u+rwX {}", part.display())
    } else if is_owner || me.is_root() {
        "the mode would allow it: look at what else confines the program (ReadWritePaths= of systemd, SELinux, AppArmor, the user namespace of a container)".to_owned()
    } else {
        format!(
            "give the files to the user that the bridge runs as (chown -R {} {}), or run it as their owner",
            me.as_raw(),
            part.display()
        )
    };
    (found, remedy)
}

fn this_user() -> String {
    user(geteuid().as_raw())
}

/// A user by number, and by name where this machine's list has one.
fn user(id: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    match name_in(&list, id) {
        Some(name) => format!("user {id} ({name})"),
        None => format!("user {id}"),
    }
}

/// The name that goes with a number in a list such as `/etc/passwd` (passwd(5)).
fn name_in(list: &str, id: u32) -> Option<&str> {
    let id = id.to_string();
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number == id).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(path: &Path, error: impl Into<io::Error>) -> String {
        explain(path, &error.into()).to_string()
    }

    #[test]
    fn what_is_missing_is_named_from_the_first_part_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one/two/three");
        let said = explained(&path, Errno::NOENT);
        let first = folder.path().join("one");
        assert!(
            said.starts_with(&format!(
                "{} does not exist; make the folder",
                first.display()
            )),
            "{said}"
        );
        std::fs::create_dir(&first).expect("made");
        assert!(explained(&path, Errno::NOENT).contains("one/two does not exist"));
    }

    #[test]
    fn what_is_denied_is_said_with_its_owner_and_with_this_user() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = explained(&folder.path().join("not/yet/there"), Errno::ACCESS);
        let me = format!("user {}", geteuid().as_raw());
        for part in [
            &folder.path().display().to_string(),
            &format!("belongs to {me}"),
            "with mode 0",
            &format!("this is {me}"),
            "the mode would allow it",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }

    #[test]
    fn each_refusal_has_a_remedy_of_its_own() {
        let mut remedies = std::collections::HashSet::new();
        for (errno, part) in [
            (Errno::ROFS, "mounted read-only; mount it writable"),
            (Errno::NOLCK, "keeps no locks"),
            (Errno::OPNOTSUPP, "keeps no locks"),
            (Errno::NOTDIR, "a part of the path is a file"),
            (Errno::ISDIR, "it is a folder"),
            (Errno::LOOP, "move the link away"),
            (Errno::IO, "look at the disk"),
        ] {
            let said = explained(Path::new("/"), errno);
            assert!(said.contains(part), "{errno:?}: {said}");
            remedies.insert(explain(Path::new("/"), &errno.into()).remedy);
        }
        assert_eq!(remedies.len(), 6);
    }

    #[test]
    fn a_user_is_named_where_the_list_has_a_name() {
        let list = "root:x:0:0:root:/root:/bin/sh\nbridge:x:10:11::/:\n\nodd\n";
        assert_eq!(
            (name_in(list, 10), name_in(list, 0)),
            (Some("bridge"), Some("root"))
        );
        assert_eq!((name_in(list, 1), name_in(list, 11)), (None, None));
    }
}
