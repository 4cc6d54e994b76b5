//! The real disk: a folder of the file system, with positioned reads and writes and `fdatasync`.
//!
//! Files are found by path, not relative to the folder's handle: whether a file still has its name
//! must be asked of the path that the next start will use, even when the folder itself was moved.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Disk, File};

/// Events and letters are private: nobody else may even list their names.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The bits of a mode that say who may do what.
const RIGHTS: u32 = 0o777;

/// Options to make a file that its owner alone may read and write. A link of its name is not followed:
/// where it leads is not ours to empty.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .mode(FILE_MODE)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Makes a file its owner's alone, whatever the umask has left of its mode, and whoever made it. One
/// that belongs to another user stays as it is: its mode is that user's to choose.
///
/// # Errors
/// What the system says.
pub fn make_private(file: &fs::File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.mode() & RIGHTS == FILE_MODE {
        return Ok(());
    }
    match file.set_permissions(Permissions::from_mode(FILE_MODE)) {
        // Another user's, or on a file system without modes.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        changed => changed,
    }
}

/// A folder of the file system.
#[derive(Debug)]
pub struct SystemDisk {
    path: PathBuf,
    may_change: bool,
}

/// What is not to be changed is refused here, whatever the system would let us do.
fn admit_change(may_change: bool) -> io::Result<()> {
    if may_change {
        Ok(())
    } else {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// Makes the name of a folder durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

impl SystemDisk {
    /// Opens the folder for reading and writing; where it is missing it is made, open to its owner
    /// alone. Its parent must be there: it may be a mount point, and what is missing not mounted.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotADirectory`] where something else has the name.
    pub fn open(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) => {
                // The umask may have left less.
                if fs::metadata(path)?.mode() & RIGHTS != FOLDER_MODE {
                    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))?;
                }
                // A power failure must not take the folder with all that comes into it.
                sync_parent(path)?;
            }
            // A start before this one may have made it and no more. A parent that cannot be opened is
            // somebody else's, and so was the making.
            Err(_) => drop(sync_parent(path)),
        }
        Self::at(path.to_owned(), true)
    }

    /// Opens a folder that is there, to look at it: files are opened read-only, and every call that
    /// would change something is an error.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] where there is no folder.
    pub fn existing(path: &Path) -> io::Result<Self> {
        Self::at(path.to_owned(), false)
    }

    fn at(path: PathBuf, may_change: bool) -> io::Result<Self> {
        let folder = fs::File::open(&path)?;
        if !folder.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path, may_change })
    }

    fn file(&self, name: &str, options: &OpenOptions) -> io::Result<Arc<dyn File>> {
        let file = options.open(self.path.join(name))?;
        if self.may_change {
            make_private(&file)?;
        }
        let metadata = file.metadata()?;
        Ok(Arc::new(SystemFile {
            identity: (metadata.dev(), metadata.ino()),
            file,
            may_change: self.may_change,
        }))
    }
}

impl Disk for SystemDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        admit_change(self.may_change)?;
        let mut options = private();
        options.read(true).write(true).create(true).truncate(true);
        self.file(name, &options)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(name, OpenOptions::new().read(true).write(self.may_change))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        admit_change(self.may_change)?;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        admit_change(self.may_change)?;
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        admit_change(self.may_change)?;
        // By its name, because somebody may have made the folder anew.
        fs::File::open(&self.path)?.sync_all()
    }

    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        let path = self.path.join(name);
        let open = if self.may_change {
            Self::open
        } else {
            Self::existing
        };
        Ok(Arc::new(open(&path)?))
    }

    fn is_named(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        match fs::metadata(self.path.join(name)) {
            Ok(metadata) => Ok((metadata.dev(), metadata.ino()) == file.identity()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn prewrites(&self) -> bool {
        true
    }
}

/// An open file of the file system.
#[derive(Debug)]
struct SystemFile {
    file: fs::File,
    identity: (u64, u64),
    may_change: bool,
}

impl File for SystemFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        admit_change(self.may_change)?;
        self.file.write_at(data, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        admit_change(self.may_change)?;
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        admit_change(self.may_change)?;
        self.file.sync_data()
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::log::disk::{read_exact_at, write_all_at};

    fn mode(path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[test]
    fn a_folder_and_its_files_are_their_owners_alone() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let path = parent.path().join("spool");
        let disk = SystemDisk::open(&path)?;
        disk.create("one")?;
        disk.folder("letters")?;
        assert_eq!(mode(&path)?, 0o700);
        assert_eq!(mode(&path.join("one"))?, 0o600);
        assert_eq!(mode(&path.join("letters"))?, 0o700);
        assert_eq!(disk.list()?, ["one"]);
        assert!(disk.prewrites());
        Ok(())
    }

    #[test]
    fn a_file_that_others_could_read_is_made_its_owners_alone() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let disk = SystemDisk::open(parent.path())?;
        for (name, left) in [("open", 0o666), ("group", 0o640)] {
            disk.create(name)?;
            let path = parent.path().join(name);
            fs::set_permissions(&path, Permissions::from_mode(left))?;
            SystemDisk::existing(parent.path())?.open(name)?;
            assert_eq!(mode(&path)?, left, "looking changes nothing");
            disk.open(name)?;
            assert_eq!(mode(&path)?, 0o600, "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_link_is_not_followed_where_a_file_is_made() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let target = parent.path().join("precious");
        fs::write(&target, "kept")?;
        let disk = SystemDisk::open(&parent.path().join("spool"))?;
        std::os::unix::fs::symlink(&target, parent.path().join("spool/one"))?;
        assert!(disk.create("one").is_err());
        assert_eq!(fs::read(target)?, b"kept");
        Ok(())
    }

    #[test]
    fn what_is_written_is_read_again_and_create_empties() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let disk = SystemDisk::open(parent.path())?;
        let file = disk.create("one")?;
        write_all_at(&*file, b"event", 4096)?;
        file.sync()?;
        disk.rename("one", "two")?;
        disk.sync_folder()?;
        let again = SystemDisk::open(parent.path())?.open("two")?;
        assert_eq!(again.identity(), file.identity());
        assert_eq!(again.length()?, 4101);
        let mut found = [0; 5];
        read_exact_at(&*again, &mut found, 4096)?;
        assert_eq!(&found, b"event");
        assert_eq!(again.read_at(&mut found, 5000)?, 0);
        again.truncate(4098)?;
        assert_eq!(file.read_at(&mut found, 4096)?, 2);
        disk.create("two")?;
        assert_eq!(again.length()?, 0);
        Ok(())
    }

    #[test]
    fn a_name_that_is_gone_or_anothers_is_noticed() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let path = parent.path().join("spool");
        let disk = SystemDisk::open(&path)?;
        let file = disk.create("one")?;
        assert!(disk.is_named("one", &*file)?);
        disk.rename("one", "two")?;
        assert!(!disk.is_named("one", &*file)?);
        disk.create("one")?;
        assert!(!disk.is_named("one", &*file)?);
        assert!(disk.is_named("two", &*file)?);
        fs::rename(&path, parent.path().join("moved"))?;
        assert!(!disk.is_named("two", &*file)?);
        Ok(())
    }

    #[test]
    fn looking_makes_and_changes_nothing() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let path = parent.path().join("spool");
        let missing = SystemDisk::existing(&path).expect_err("nothing is there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        write_all_at(&*SystemDisk::open(&path)?.create("one")?, b"event", 0)?;

        let disk = SystemDisk::existing(&path)?;
        let file = disk.open("one")?;
        assert_eq!(file.length()?, 5);
        let refused = [
            disk.create("two").err(),
            disk.rename("one", "two").err(),
            disk.remove("one").err(),
            disk.sync_folder().err(),
            file.write_at(b"other", 0).err(),
            file.truncate(0).err(),
            file.sync().err(),
        ];
        for error in refused {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(io::ErrorKind::ReadOnlyFilesystem));
        }
        let folder = disk.folder("letters").expect_err("nothing is there");
        assert_eq!(folder.kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.list()?, ["one"]);
        Ok(())
    }

    #[test]
    fn a_file_is_no_folder() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let path = parent.path().join("file");
        fs::write(&path, "")?;
        let error = SystemDisk::open(&path).expect_err("a file has the name");
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        Ok(())
    }
}
