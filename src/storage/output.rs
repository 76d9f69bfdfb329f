//! Results appear whole or not at all: temporary name beside the final one, fsync, rename.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Files of which a folder of results holds at least one; `--force` replaces no other folder.
const MARKS: [&str; 3] = ["provenance.toml", "model.toml", "report.html"];

/// Fails if `path` may not become a file of results: something is there and `force` is not set, or it is a folder.
///
/// # Errors
/// [`Error::Exists`], or what is in the way.
pub fn refuse_file(path: &Path, force: bool) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if found.is_dir() {
        return Err(Error::data(
            path,
            "output",
            "a folder",
            "the name of a file",
        ));
    }
    if force {
        Ok(())
    } else {
        Err(Error::Exists {
            path: path.to_owned(),
        })
    }
}

/// Fails if `path` may not become a folder of results: something is there and `force` is not set, or what is there is not a
/// folder of results.
///
/// # Errors
/// [`Error::Exists`], or what is in the way.
pub fn refuse_folder(path: &Path, force: bool) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.is_dir() {
        return Err(Error::data(
            path,
            "output",
            "a file",
            "the name of a folder",
        ));
    }
    if !force {
        return Err(Error::Exists {
            path: path.to_owned(),
        });
    }
    let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if empty || MARKS.iter().any(|mark| path.join(mark).exists()) {
        return Ok(());
    }
    let got = "a folder that holds no results of this program";
    Err(Error::data(
        path,
        "output",
        got,
        "another name; --force replaces results only",
    ))
}

/// Fails if a result would replace one of its own `inputs`, or the folder it lies in.
///
/// # Errors
/// The input that would be lost.
pub fn refuse_inputs(output: &Path, inputs: &[&Path]) -> Result<()> {
    let Ok(output) = output.canonicalize() else {
        return Ok(());
    };
    for input in inputs {
        if input
            .canonicalize()
            .is_ok_and(|input| input.starts_with(&output))
        {
            let got = format!("the input {}", input.display());
            return Err(Error::data(
                &output,
                "output",
                got,
                "a name that replaces no input",
            ));
        }
    }
    Ok(())
}

/// Where the unfinished form of the result `path` lives: `NAME.partial` beside it.
#[must_use]
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Writes a whole file: temporary name, fsync, rename. Folders above it are made.
///
/// # Errors
/// The system refuses (no space, no permission); nothing is left behind then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    publish(file, path)
}

/// Gives a finished temporary file its name, with the permissions of an ordinary file.
fn publish(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = fs::Permissions::from_mode(0o644);
        file.as_file()
            .set_permissions(permissions)
            .map_err(Error::io("write", path))?;
    }
    file.persist(path)
        .map_err(|error| Error::io("rename to", path)(error.error))?;
    Ok(())
}

/// A file that another library writes by name: it gets a temporary name, and the final one when it is whole.
#[derive(Debug)]
pub struct OutputFile {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl OutputFile {
    /// Reserves a temporary name beside `path`.
    ///
    /// # Errors
    /// `path` exists and `force` is not set, or the folder cannot be written.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        refuse_file(path, force)?;
        let folder = parent(path);
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        let file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// The temporary name to write to.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        self.file.path()
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// The system refuses; nothing is left behind then.
    pub fn finish(self) -> Result<()> {
        publish(self.file, &self.path)
    }
}

/// A folder of results that appears whole: written as `NAME.partial`, renamed when finished.
///
/// Dropping it unfinished leaves `NAME.partial` in place if [`OutputFolder::resumable`] made it, and removes it otherwise.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    partial: PathBuf,
    keep_partial: bool,
}

impl OutputFolder {
    /// A fresh folder; what an interrupted run left is removed.
    ///
    /// # Errors
    /// `path` exists and `force` is not set, or the folder cannot be made.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        refuse_folder(path, force)?;
        let partial = partial_path(path);
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(Error::io("remove", &partial))?;
        }
        fs::create_dir_all(&partial).map_err(Error::io("make the folder", &partial))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            keep_partial: false,
        })
    }

    /// A folder that goes on with what an interrupted run left in `NAME.partial`.
    ///
    /// # Errors
    /// `path` exists and `force` is not set, or the folder cannot be made.
    pub fn resumable(path: &Path, force: bool) -> Result<Self> {
        refuse_folder(path, force)?;
        let partial = partial_path(path);
        fs::create_dir_all(&partial).map_err(Error::io("make the folder", &partial))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            keep_partial: true,
        })
    }

    /// The unfinished folder, to write into.
    #[must_use]
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Makes the folder appear under its name, in place of an older one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn finish(mut self) -> Result<()> {
        let older = self.path.exists().then(|| {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(".replaced");
            self.path.with_file_name(name)
        });
        if let Some(older) = &older {
            fs::rename(&self.path, older).map_err(Error::io("rename", &self.path))?;
        }
        fs::rename(&self.partial, &self.path).map_err(Error::io("rename to", &self.path))?;
        self.keep_partial = true;
        if let Some(older) = &older {
            fs::remove_dir_all(older).map_err(Error::io("remove", older))?;
        }
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        if !self.keep_partial {
            // Nothing useful can be done if a half-written folder cannot be removed: the next run removes it.
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_when_finished_and_not_before() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("result");
        let folder = OutputFolder::create(&target, false).unwrap();
        write_file(&folder.partial().join("a.csv"), b"x\n").unwrap();
        write_file(&folder.partial().join("provenance.toml"), b"").unwrap();
        assert!(!target.exists());
        folder.finish().unwrap();
        assert_eq!(fs::read(target.join("a.csv")).unwrap(), b"x\n");
        assert!(matches!(
            OutputFolder::create(&target, false),
            Err(Error::Exists { .. })
        ));
        drop(OutputFolder::create(&target, true).unwrap());
        assert!(
            target.join("a.csv").exists(),
            "an unfinished replacement keeps the old result"
        );
        OutputFolder::create(&target, true)
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        assert_eq!(
            fs::read_dir(here.path()).unwrap().count(),
            1,
            "nothing is left beside the result"
        );
    }

    #[test]
    fn force_replaces_results_and_nothing_else() {
        let here = tempfile::tempdir().unwrap();
        let at = |name: &str| here.path().join(name);
        fs::create_dir(at("mine")).unwrap();
        assert!(
            refuse_folder(&at("mine"), true).is_ok(),
            "an empty folder is nobody's loss"
        );
        fs::write(at("mine/keep.txt"), b"dear").unwrap();
        assert!(
            refuse_folder(&at("mine"), true)
                .unwrap_err()
                .to_string()
                .contains("no results")
        );
        assert!(
            refuse_folder(&at("mine/keep.txt"), true)
                .unwrap_err()
                .to_string()
                .contains("a file")
        );
        assert!(
            refuse_file(&at("mine"), true)
                .unwrap_err()
                .to_string()
                .contains("a folder")
        );
        assert!(refuse_inputs(&at("mine"), &[&at("mine/keep.txt")]).is_err());
        assert!(refuse_inputs(&at("mine/keep.txt"), &[&at("mine/keep.txt")]).is_err());
        assert!(refuse_inputs(&at("other"), &[&at("mine/keep.txt")]).is_ok());
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("f.hspy");
        drop(OutputFile::create(&target, false).unwrap());
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
    }
}
