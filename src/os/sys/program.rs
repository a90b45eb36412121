//! Runs the program of this process again.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::{fs, io, ptr};

use super::check;

/// Returns whether this user may execute a file and its file system permits execution.
pub fn may_execute(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: `path` is a C string.
    unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
}

/// Executable file of this process, kept open for children that run it again.
static OWN_FILE: OnceLock<OwnedFd> = OnceLock::new();

/// Path by which Linux shows a process its own executable.
const OWN_FILE_IN_PROC: &str = "/proc/self/exe";

/// Opens this process's executable, so that [`own_program`] works without /proc. Must be called once at the
/// start, before the working directory changes.
pub fn keep_own_file() {
    let open = |path: &CStr| -> io::Result<OwnedFd> {
        // SAFETY: `path` is a C string. O_PATH needs no read permission, which an executable may lack.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        check(fd)?;
        // SAFETY: the file descriptor is new and has no other owner.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    let shown = CString::new(OWN_FILE_IN_PROC).map_err(io::Error::from);
    let found = shown.and_then(|path| open(&path)).or_else(|why| {
        // SAFETY: takes and returns integers.
        let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
        if path.is_null() {
            return Err(why);
        }
        // SAFETY: the kernel puts a C string there that lives as long as the process.
        open(unsafe { CStr::from_ptr(path) })
    });
    if let Ok(found) = found {
        let _ = OWN_FILE.set(found);
    }
}

/// Returns a command that runs this process's program under another name.
///
/// # Errors
/// If there is no /proc and [`keep_own_file`] did not find the file.
pub fn own_program(argv0: &str) -> io::Result<Command> {
    own_command(argv0, None)
}

/// Returns a command like [`own_program`] with exactly these environment variables.
///
/// # Errors
/// If [`own_program`] would fail, or a variable contains NUL.
pub fn own_program_in(argv0: &str, variables: Vec<(OsString, OsString)>) -> io::Result<Command> {
    let pair = |(name, value): &(OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let texts = variables.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
    pointers.push(ptr::null());
    let environment = Environment {
        _texts: texts,
        pointers,
    };
    let mut command = own_command(argv0, Some(environment))?;
    command.env_clear().envs(variables);
    Ok(command)
}

/// Environment in the kernel's format, because a closure that runs before exec does not see the command's
/// variables.
struct Environment {
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers point into the texts, which live as long and never change.
unsafe impl Send for Environment {}
// SAFETY: as above.
unsafe impl Sync for Environment {}

fn own_command(argv0: &str, environment: Option<Environment>) -> io::Result<Command> {
    let mut command = Command::new(OWN_FILE_IN_PROC);
    command.arg0(argv0);
    if fs::metadata(OWN_FILE_IN_PROC).is_ok() {
        return Ok(command);
    }
    let Some(file) = OWN_FILE.get() else {
        let why = "there is no /proc, and the program's own file is not known";
        return Err(io::Error::other(why));
    };
    let fd = file.as_raw_fd();
    let argv0 = CString::new(argv0)?;
    let run = move || {
        let argv = [argv0.as_ptr(), ptr::null()];
        let given = environment.as_ref().map(|given| given.pointers.as_ptr());
        // Called by number, because musl has no wrapper. Returns only on failure.
        // SAFETY: the file descriptor, the C strings and the null-terminated lists live until the call ends.
        unsafe {
            let (path, env) = (c"".as_ptr(), given.unwrap_or(environ));
            libc::syscall(
                libc::SYS_execveat,
                fd,
                path,
                argv.as_ptr(),
                env,
                libc::AT_EMPTY_PATH,
            )
        };
        Err(io::Error::last_os_error())
    };
    // SAFETY: between fork and exec `run` neither allocates nor locks.
    unsafe { command.pre_exec(run) };
    Ok(command)
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}
