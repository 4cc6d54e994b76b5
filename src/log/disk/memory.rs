//! A disk in memory, for a spool that is configured to live there: nothing on it outlives the
//! process, so it has nothing to sync.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Disk, File};

/// A folder in memory. A file's memory is freed once its name and its last handle are gone.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    files: HashMap<String, Arc<MemoryFile>>,
    folders: HashMap<String, Arc<MemoryDisk>>,
}

impl MemoryDisk {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::clone(self.names().files.entry(name.to_owned()).or_default());
        *file.bytes_mut() = Vec::new();
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        match self.names().files.get(name) {
            Some(file) => Ok(Arc::<MemoryFile>::clone(file)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names();
        let file = names.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.names().files.remove(name) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        let folder = Arc::clone(self.names().folders.entry(name.to_owned()).or_default());
        Ok(folder)
    }

    fn is_named(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        let names = self.names();
        let named = names.files.get(name);
        Ok(named.is_some_and(|named| named.identity() == file.identity()))
    }

    fn prewrites(&self) -> bool {
        false
    }
}

/// A file in memory: it grows as it is written, and what was left out in between is zeros.
#[derive(Default)]
struct MemoryFile(RwLock<Vec<u8>>);

impl MemoryFile {
    fn bytes(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes_mut(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the contents: they are bodies of events.
impl Debug for MemoryFile {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryFile").finish_non_exhaustive()
    }
}

impl File for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let from = usize::try_from(offset).ok();
        let there = from.and_then(|from| bytes.get(from..)).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).ok();
        let end = from.and_then(|from| from.checked_add(data.len()));
        let (Some(from), Some(end)) = (from, end) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        let mut bytes = self.bytes_mut();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(data);
        Ok(data.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.bytes_mut().truncate(length);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Its address: no other file has it while this one is open.
    fn identity(&self) -> (u64, u64) {
        (0, ptr::from_ref(self).addr() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::{read_exact_at, write_all_at};

    const BLOCK: usize = 64 * 1024;

    #[test]
    fn a_file_grows_as_it_is_written_and_holes_are_zeros() -> io::Result<()> {
        let disk = MemoryDisk::new();
        let file = disk.create("one")?;
        let data: Vec<u8> = (0..BLOCK + 100).map(|n| (n % 251) as u8 + 1).collect();
        let offset = 3 * BLOCK as u64 - 50;
        write_all_at(&*file, &data, offset)?;
        assert_eq!(file.length()?, offset + data.len() as u64);
        let mut found = vec![0; data.len()];
        read_exact_at(&*file, &mut found, offset)?;
        assert_eq!(found, data);
        let mut hole = [1; 60];
        read_exact_at(&*file, &mut hole, BLOCK as u64 - 30)?;
        assert_eq!(hole, [0; 60]);
        let mut end = [0; 200];
        assert_eq!(file.read_at(&mut end, file.length()? - 100)?, 100);
        assert_eq!(file.read_at(&mut end, u64::MAX)?, 0);
        let error = file.write_at(b"x", u64::MAX).expect_err("no such place");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        Ok(())
    }

    #[test]
    fn what_is_cut_off_is_zeros_when_the_file_grows_again() -> io::Result<()> {
        let file = MemoryDisk::new().create("one")?;
        write_all_at(&*file, &[1; 3 * BLOCK], 0)?;
        let length = BLOCK as u64 + 10;
        file.truncate(length)?;
        assert_eq!(file.length()?, length);
        write_all_at(&*file, &[2], 3 * BLOCK as u64)?;
        let mut found = vec![3; 2 * BLOCK - 9];
        read_exact_at(&*file, &mut found, length - 1)?;
        assert_eq!(found[0], 1);
        assert!(found[1..].iter().all(|byte| *byte == 0));
        Ok(())
    }

    #[test]
    fn names_are_made_moved_and_removed() -> io::Result<()> {
        let disk = MemoryDisk::new();
        let one = disk.create("one")?;
        let two = disk.create("two")?;
        assert!(disk.is_named("one", &*one)? && !disk.is_named("one", &*two)?);
        write_all_at(&*one, b"event", 0)?;
        disk.rename("one", "two")?;
        assert!(disk.is_named("two", &*one)? && !disk.is_named("one", &*one)?);
        assert_eq!(disk.list()?, ["two"]);
        assert_eq!(disk.open("two")?.length()?, 5);
        disk.create("two")?;
        assert_eq!(one.length()?, 0);
        disk.remove("two")?;
        for error in [disk.remove("two").err(), disk.rename("two", "one").err()] {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(io::ErrorKind::NotFound));
        }
        let missing = disk.open("two").expect_err("it was removed");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        Ok(())
    }

    #[test]
    fn a_folder_is_the_same_each_time() -> io::Result<()> {
        let disk = MemoryDisk::new();
        disk.folder("letters")?.create("one")?;
        assert_eq!(disk.folder("letters")?.list()?, ["one"]);
        assert!(disk.list()?.is_empty());
        Ok(())
    }

    #[test]
    fn a_removed_files_memory_is_freed_with_its_last_handle() -> io::Result<()> {
        let disk = MemoryDisk::new();
        let file = disk.create("one")?;
        write_all_at(&*file, b"event", 0)?;
        disk.remove("one")?;
        let seen = Arc::downgrade(&file);
        let mut found = [0; 5];
        read_exact_at(&*file, &mut found, 0)?;
        drop(file);
        assert!(seen.upgrade().is_none());
        Ok(())
    }
}
