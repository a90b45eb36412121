use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Directories and a clock. By the default time of day, all files have timestamps in the future.
struct World {
    root: tempfile::TempDir,
    dirs: HandlerDirs,
    at: Moment,
}

impl World {
    /// Creates these directories below the root, not checked yet.
    fn new(names: &[&str]) -> World {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut world = World {
            root,
            dirs: HandlerDirs::default(),
            at: Moment {
                now: Instant::ORIGIN,
                unix_micros: 0,
            },
        };
        let paths: Vec<_> = names.iter().map(|name| world.path(name)).collect();
        let paths: Vec<_> = paths
            .into_iter()
            .map(|p| p.into_os_string().into_vec())
            .collect();
        world.dirs = HandlerDirs::new(&paths);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, on: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n# cottar: on={on}\n")).unwrap();
        self.set_mode(name, 0o755);
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn look_at_once(&mut self) -> String {
        self.dirs.look_at_once(self.at);
        self.counting()
    }

    /// Checks `millis` later; returns the handlers in effect, with `=` in front if they have not changed.
    fn look_after(&mut self, millis: u64) -> String {
        self.at.now += Duration::from_millis(millis);
        let has_changed = self.dirs.look(self.at);
        let sign = if has_changed { "" } else { "=" };
        format!("{sign}{}", self.counting())
    }

    /// Returns base name and filter of each handler in effect.
    fn counting(&self) -> String {
        let one = |settings: &HandlerSettings| {
            let filter = String::from_utf8(settings.filter()).unwrap();
            format!("{}:{filter}", settings.action.base_name())
        };
        let all: Vec<_> = self.dirs.behind(&[]).iter().map(one).collect();
        all.join(" ")
    }
}

#[test]
fn files_of_the_start_count_at_once_in_byte_order() {
    let mut world = World::new(&["d"]);
    world.write("d/9", "user");
    world.write("d/10-a", "query");
    world.write("d/Z", "*");
    world.write("d/.x", "*");
    world.write("d/off", "*");
    world.set_mode("d/off", 0o644);
    assert_eq!(world.look_at_once(), "10-a:query 9:user Z:*");
    assert_eq!(world.look_after(5000), "=10-a:query 9:user Z:*");
}

#[test]
fn a_new_file_counts_after_two_looks_a_second_apart() {
    let mut world = World::new(&["d"]);
    assert_eq!(world.look_at_once(), "");
    world.write("d/a", "user");
    // No check within a second of the last one.
    assert_eq!(world.look_after(999), "=");
    assert_eq!(world.look_after(1), "=");
    assert_eq!(world.look_after(500), "=");
    assert_eq!(world.look_after(500), "a:user");
    assert_eq!(world.look_after(60_000), "=a:user");
}

#[test]
fn a_file_whose_times_are_old_enough_counts_at_the_first_look() {
    let mut world = World::new(&["d"]);
    assert_eq!(world.look_at_once(), "");
    world.write("d/a", "user");
    let now = crate::os::clock::unix_time();
    world.at.unix_micros = u64::try_from(now.as_micros()).unwrap() + 10_000_000;
    assert_eq!(world.look_after(1000), "a:user");
}

#[test]
fn what_changes_all_the_time_counts_when_it_is_complete() {
    let mut world = World::new(&["d"]);
    world.look_at_once();
    for on in ["user", "user:b", "user:bc", "user:bcd"] {
        world.write("d/a", on);
        assert_eq!(world.look_after(1000), "=", "{on}");
    }
    assert_eq!(world.look_after(1000), "a:user:bcd");
}

#[test]
fn a_changed_file_counts_as_it_was_until_it_is_complete() {
    let mut world = World::new(&["d"]);
    world.write("d/a", "user:one");
    assert_eq!(world.look_at_once(), "a:user:one");
    world.write("d/a", "user:another");
    assert_eq!(world.look_after(1000), "=a:user:one");
    assert_eq!(world.look_after(1000), "a:user:another");
    // Empty for a moment, as when an editor writes in place.
    fs::write(world.path("d/a"), "").unwrap();
    assert_eq!(world.look_after(1000), "=a:user:another");
    world.write("d/a", "user:third");
    assert_eq!(world.look_after(1000), "=a:user:another");
    assert_eq!(world.look_after(1000), "a:user:third");
    // A change outside of the header leaves the handler the same.
    fs::write(
        world.path("d/a"),
        "#!/bin/sh\n# cottar: on=user:third\necho more\n",
    )
    .unwrap();
    assert_eq!(world.look_after(1000), "=a:user:third");
    assert_eq!(world.look_after(1000), "=a:user:third");
    // Finally it has no header and is not a handler any more.
    fs::write(world.path("d/a"), "#!/bin/sh\n").unwrap();
    assert_eq!(world.look_after(1000), "=a:user:third");
    assert_eq!(world.look_after(1000), "");
}

#[test]
fn what_is_gone_or_without_its_rights_counts_no_more_at_the_next_look() {
    let mut world = World::new(&["d"]);
    for name in ["d/a", "d/b", "d/c", "d/e"] {
        world.write(name, "user");
    }
    symlink(world.path("d/e"), world.path("d/f")).unwrap();
    assert_eq!(world.look_at_once(), "a:user b:user c:user e:user f:user");
    fs::remove_file(world.path("d/a")).unwrap();
    world.set_mode("d/b", 0o644);
    world.set_mode("d/c", 0o757);
    assert_eq!(world.look_after(1000), "e:user f:user");
    assert_eq!(world.look_after(1000), "=e:user f:user");
    fs::rename(world.path("d/e"), world.path("d/e~")).unwrap();
    assert_eq!(world.look_after(1000), "");
    // With their permissions restored, they come back.
    world.set_mode("d/b", 0o755);
    world.set_mode("d/c", 0o755);
    assert_eq!(world.look_after(1000), "=");
    assert_eq!(world.look_after(1000), "b:user c:user");
}

#[test]
fn the_directory_itself_may_come_go_and_lose_its_rights() {
    let mut world = World::new(&["d"]);
    world.write("d/a", "user");
    assert_eq!(world.look_at_once(), "a:user");
    world.set_mode("d", 0o777);
    assert_eq!(world.look_after(1000), "");
    let why = format!(
        "other users can write to {} (mode 0777)",
        shown(&world.path("d"))
    );
    let expected = Finding {
        path: world.path("d"),
        verdict: Verdict::Refused(why),
    };
    assert_eq!(world.dirs.findings(&[]), [expected]);
    world.set_mode("d", 0o755);
    world.look_after(1000);
    assert_eq!(world.look_after(1000), "a:user");
    fs::rename(world.path("d"), world.path("gone")).unwrap();
    assert_eq!(world.look_after(1000), "");
    let findings = world.dirs.findings(&[]);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        findings[0].verdict,
        Verdict::Refused("no such file or directory".into())
    );
    fs::rename(world.path("gone"), world.path("d")).unwrap();
    world.look_after(1000);
    assert_eq!(world.look_after(1000), "a:user");
}

#[test]
fn a_link_is_followed_and_watched() {
    let mut world = World::new(&["d", "elsewhere", "elsewhere/in"]);
    let paths = [world.path("d").into_os_string().into_vec()];
    world.dirs = HandlerDirs::new(&paths);
    world.write("elsewhere/in/file", "user");
    symlink(world.path("elsewhere/in/file"), world.path("d/a")).unwrap();
    symlink("/dev/null", world.path("d/b")).unwrap();
    symlink("nothing", world.path("d/c")).unwrap();
    assert_eq!(world.look_at_once(), "a:user");
    // The file itself does not change when a parent directory becomes writable for others.
    world.set_mode("elsewhere/in", 0o777);
    assert_eq!(world.look_after(1000), "");
    world.set_mode("elsewhere/in", 0o755);
    assert_eq!(world.look_after(1000), "a:user");
    // Disabled by replacing it with a link to /dev/null.
    symlink("/dev/null", world.path("new")).unwrap();
    fs::rename(world.path("new"), world.path("d/a")).unwrap();
    assert_eq!(world.look_after(1000), "");
}

#[test]
fn of_one_name_in_two_directories_the_later_wins() {
    let mut world = World::new(&["one", "two"]);
    for (name, on) in [("one/a", "user"), ("one/b", "user"), ("two/a", "query")] {
        world.write(name, on);
    }
    symlink("/dev/null", world.path("two/b")).unwrap();
    world.write("two/c", "query");
    assert_eq!(world.look_at_once(), "a:query c:query");
    fs::remove_file(world.path("two/a")).unwrap();
    fs::remove_file(world.path("two/b")).unwrap();
    assert_eq!(world.look_after(1000), "c:query");
    assert_eq!(world.look_after(1000), "a:user b:user c:query");
}

#[test]
fn too_many_files_are_refused() {
    let mut world = World::new(&["d"]);
    for at in 0..=FILES_MAX {
        fs::write(world.path(&format!("d/{at}")), "").unwrap();
    }
    assert_eq!(world.look_at_once(), "");
    let findings = world.dirs.findings(&[]);
    let why = format!("it has more than {FILES_MAX} files");
    assert_eq!(findings[0].verdict, Verdict::Refused(why));
    assert_eq!(findings.len(), 1);
}

#[test]
fn a_name_that_is_taken_keeps_the_later_handler_from_running() {
    let mut world = World::new(&["d"]);
    for file in ["d/1", "d/2", "d/3"] {
        let name = if file == "d/3" { "free" } else { "taken" };
        world.write(file, &format!("user name={name}"));
    }
    let first = HandlerSettings::from_text(b"user=x").unwrap();
    let named = HandlerSettings {
        name: Some("free".into()),
        ..first.clone()
    };
    assert_eq!(world.look_at_once(), "1:user 3:user");
    let all = world.dirs.behind(&[first, named.clone()]);
    let names: Vec<_> = all
        .iter()
        .map(|settings| settings.action.base_name())
        .collect();
    assert_eq!(names, ["x", "x", "1"]);
    let findings = world.dirs.findings(&[named]);
    let why = |at: usize| match &findings[at].verdict {
        Verdict::Refused(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    let first = shown(&world.path("d/1")).to_string();
    assert_eq!(why(1), format!("key 'name': already used by {first}"));
    assert_eq!(
        why(2),
        "key 'name': already used by a handler of the configuration"
    );
}

#[test]
fn what_a_refused_file_lacks_may_come_later() {
    let mut world = World::new(&["d"]);
    let interpreter = world.path("sh");
    let text = format!("#!{}\n# cottar: on=user\n", shown(&interpreter));
    fs::write(world.path("d/a"), text).unwrap();
    world.set_mode("d/a", 0o755);
    assert_eq!(world.look_at_once(), "");
    assert_eq!(world.look_after(1000), "=");
    symlink("/bin/sh", &interpreter).unwrap();
    assert_eq!(world.look_after(1000), "a:user");
}
