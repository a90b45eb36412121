//! `make install` and `make uninstall`, into a temporary directory.

use crate::live::{Agent, COTTAR, Kind, Spec, arg, content};
use cottar::agent::config::settings::Settings;
use cottar::agent::config::sources::{Sources, Waiting};
use cottar::agent::config::{Addresses, AgentConfig};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An empty root directory.
pub struct Root(tempfile::TempDir);

impl Root {
    pub fn new() -> Self {
        Root(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    pub fn make(&self, target: &str, variables: &[&str]) {
        let output = Command::new("make")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["-s", target, "PREFIX=/usr"])
            .arg(format!("DESTDIR={}", self.0.path().display()))
            .arg(format!("BINARY={COTTAR}"))
            .args(variables)
            // This test itself may run under make.
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "make {target}: {errors}");
    }

    /// Returns all files and links.
    pub fn files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut todo = vec![self.0.path().to_owned()];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    todo.push(path);
                } else {
                    let inside = path.strip_prefix(self.0.path()).unwrap();
                    found.insert(format!("/{}", inside.display()));
                }
            }
        }
        found
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().permissions().mode() & 0o777
    }
}

const COMMON: &[&str] = &[
    "/etc/cottar/cottar.json",
    "/usr/bin/cottar",
    "/usr/share/bash-completion/completions/cottar",
    "/usr/share/doc/cottar/CHANGELOG.md",
    "/usr/share/doc/cottar/LICENSE",
    "/usr/share/doc/cottar/README.md",
    "/usr/share/doc/cottar/examples/cluster.json",
    "/usr/share/doc/cottar/examples/members",
    "/usr/share/doc/cottar/examples/tutorial/deploy",
    "/usr/share/doc/cottar/examples/tutorial/page",
    "/usr/share/doc/cottar/examples/tutorial/rolling",
    "/usr/share/doc/cottar/examples/tutorial/upstreams",
    "/usr/share/doc/cottar/examples/tutorial/web.json",
    "/usr/share/doc/cottar/examples/tutorial/web1.json",
    "/usr/share/doc/cottar/third-party.txt",
    "/usr/share/fish/vendor_completions.d/cottar.fish",
    "/usr/share/man/man1/cottar.1",
    "/usr/share/man/man5/cottar.conf.5",
    "/usr/share/man/man7/cottar-handler.7",
    "/usr/share/man/man7/cottar-tutorial.7",
    "/usr/share/man/man8/cottar-agent.8",
    "/usr/share/zsh/site-functions/_cottar",
];

const SYSTEMD: &[&str] = &[
    "/usr/lib/systemd/system/cottar.service",
    "/usr/lib/sysusers.d/cottar.conf",
    "/usr/lib/tmpfiles.d/cottar.conf",
    "/usr/share/doc/cottar/examples/loosen.conf",
];

const LINKS: &[&str] = &[
    "/usr/bin/serf",
    "/usr/share/bash-completion/completions/serf",
    "/usr/share/fish/vendor_completions.d/serf.fish",
    "/usr/share/man/man1/serf.1",
];

fn set(parts: &[&[&str]]) -> BTreeSet<String> {
    let all = parts.iter().flat_map(|part| part.iter());
    all.map(|path| (*path).to_owned()).collect()
}

#[test]
fn each_init_system_gets_its_service_and_uninstall_undoes_it() {
    let cases: [(&str, &[&str]); 4] = [
        ("systemd", SYSTEMD),
        (
            "openrc",
            &[
                "/etc/conf.d/cottar",
                "/etc/init.d/cottar",
                "/usr/libexec/cottar/keep",
            ],
        ),
        (
            "openwrt",
            &["/etc/init.d/cottar", "/usr/libexec/cottar/keep"],
        ),
        ("none", &[]),
    ];
    for (system, service) in cases {
        let root = Root::new();
        let system = format!("INIT_SYSTEM={system}");
        root.make("install", &[&system]);
        assert_eq!(root.files(), set(&[COMMON, service]), "{system}");
        for path in root.files() {
            let text = content(&root.at(&path));
            if path != "/usr/bin/cottar" {
                let left = ["BINDIR", "SYSCONFDIR", "STATEDIR", "RUNDIR", "LIBEXECDIR"];
                let mark = |name: &&str| text.contains(&format!("@{name}@"));
                assert!(!left.iter().any(mark), "{path}");
                assert!(!text.contains(arg(root.0.path())), "{path} names DESTDIR");
            }
            let executable = text.starts_with("#!") || path == "/usr/bin/cottar";
            let mode = if executable { 0o755 } else { 0o644 };
            assert_eq!(root.mode(&path), mode, "{path}");
            if path.starts_with("/etc/init.d/") {
                let checked = Command::new("sh").arg("-n").arg(root.at(&path)).status();
                assert!(checked.unwrap().success(), "{path}");
            }
        }
        root.make("uninstall", &[&system]);
        assert!(root.files().is_empty(), "{:?}", root.files());
        assert!(!root.at("/etc/cottar").exists());
    }
}

#[test]
fn services_follow_the_directories() {
    for (system, service) in [
        ("systemd", "/opt/lib/systemd/system/cottar.service"),
        ("openrc", "/opt/etc/init.d/cottar"),
        ("openwrt", "/opt/etc/init.d/cottar"),
    ] {
        let root = Root::new();
        let system = format!("INIT_SYSTEM={system}");
        let variables = [
            &system,
            "PREFIX=/opt",
            "SYSCONFDIR=/opt/etc",
            "STATEDIR=/opt/state",
            "RUNDIR=/opt/run",
        ];
        root.make("install", &variables);
        let text = content(&root.at(service));
        let runs = text.contains("/opt/bin/cottar") && text.contains("-config-dir");
        assert!(runs && text.contains("/opt/etc/cottar"), "{text}");
        let config = content(&root.at("/opt/etc/cottar/cottar.json"));
        for place in [
            "\"/opt/state/cottar/snapshot\"",
            "\"unix:/opt/run/cottar/rpc.sock\"",
        ] {
            assert!(config.contains(place), "{config}");
        }
        let tutorial = content(&root.at("/opt/share/man/man7/cottar-tutorial.7"));
        assert!(tutorial.contains("\n$ cp -r /opt/share/doc/cottar/examples/tutorial .\n"));
        // The directory of the socket is created for the agent's user.
        let makes = match system.as_str() {
            "INIT_SYSTEM=systemd" => "RuntimeDirectory=cottar\n",
            "INIT_SYSTEM=openrc" => {
                "checkpath -d -m 0755 -o \"${cottar_user}:${cottar_group}\" \"/opt/run/cottar\""
            }
            _ => "chmod 0755 \"/opt/run/cottar\"",
        };
        assert!(text.contains(makes), "{text}");
        root.make("uninstall", &variables);
        assert!(root.files().is_empty(), "{:?}", root.files());
    }
}

#[test]
fn each_part_can_be_installed_alone_and_all_parts_are_the_whole() {
    let whole = Root::new();
    whole.make("install", &["LICENSEDIR=/usr/share/licenses/cottar"]);
    let mut found = BTreeSet::new();
    for part in [
        "program",
        "configuration",
        "manual",
        "completions",
        "documents",
        "systemd",
    ] {
        let root = Root::new();
        let target = format!("install-{part}");
        root.make(&target, &["LICENSEDIR=/usr/share/licenses/cottar"]);
        let files = root.files();
        assert!(!files.is_empty() && files.is_disjoint(&found), "{part}");
        found.extend(files);
    }
    assert_eq!(whole.files(), found);
    for name in ["LICENSE", "third-party.txt"] {
        assert!(found.contains(&format!("/usr/share/licenses/cottar/{name}")));
        assert!(!found.contains(&format!("/usr/share/doc/cottar/{name}")));
    }
    whole.make("uninstall", &["LICENSEDIR=/usr/share/licenses/cottar"]);
    assert!(whole.files().is_empty(), "{:?}", whole.files());
    assert!(!whole.at("/usr/share/licenses/cottar").exists());
}

#[test]
fn files_changed_by_the_administrator_stay() {
    let root = Root::new();
    root.make("install", &[]);
    let config = root.at("/etc/cottar/cottar.json");
    fs::write(&config, "{\"bind\": \"192.0.2.1\"}").unwrap();
    fs::write(root.at("/usr/bin/serf"), "another program").unwrap();
    root.make("install", &[]);
    assert_eq!(content(&config), "{\"bind\": \"192.0.2.1\"}");
    root.make("uninstall", &[]);
    let left = ["/etc/cottar/cottar.json", "/usr/bin/serf"];
    assert_eq!(root.files(), set(&[&left]));
}

#[test]
fn the_directory_of_handlers_is_there_and_named() {
    let root = Root::new();
    root.make("install", &[]);
    assert_eq!(root.mode("/etc/cottar/handlers.d"), 0o755);
    let config = content(&root.at("/etc/cottar/cottar.json"));
    assert!(config.contains("\"handler_dirs\": [\"/etc/cottar/handlers.d\"]"));
    root.make("uninstall", &[]);
    assert!(!root.at("/etc/cottar").exists());
    // Files that others created there stay.
    root.make("install", &[]);
    fs::write(root.at("/etc/cottar/handlers.d/10-own"), "").unwrap();
    root.make("uninstall", &[]);
    assert_eq!(root.files(), set(&[&["/etc/cottar/handlers.d/10-own"]]));
}

#[test]
fn the_program_works_under_the_references_name() {
    let root = Root::new();
    root.make("install", &["SERF_LINK=1"]);
    assert_eq!(root.files(), set(&[COMMON, SYSTEMD, LINKS]));
    for link in LINKS {
        assert!(root.at(link).exists(), "{link} is dangling");
    }
    let serf = root.at("/usr/bin/serf");
    let said = |program: &Path| {
        let output = Command::new(program).arg("version").output().unwrap();
        (output.status.code(), output.stdout)
    };
    assert_eq!(said(&serf), said(Path::new(COTTAR)));
    // The agent starts its own binary again to resolve names.
    let peer = Agent::start(&["-node=peer"]);
    let join = format!("-join=localhost:{}", peer.gossip.port());
    let spec = Spec::bare(Kind::Cottar).program(&serf);
    let agent = spec.args(["-node=linked", &join]).start();
    assert!(agent.sees("peer", "alive"), "{}", agent.text());
    drop(agent);
    root.make("uninstall", &[]);
    assert!(root.files().is_empty(), "{:?}", root.files());
}

#[test]
fn the_configuration_of_a_fresh_install_is_safe_and_works() {
    let root = Root::new();
    let state = root.at("/state");
    fs::create_dir_all(state.join("cottar")).unwrap();
    // As it would be without DESTDIR.
    let variables = [
        format!("STATEDIR={}", state.display()),
        "INIT_SYSTEM=none".to_owned(),
    ];
    root.make("install", &[&variables[0], &variables[1]]);
    let directory = root.at("/etc/cottar");
    let settings = read(&directory);
    let config = AgentConfig::check(&settings, b"host").map_err(|refused| refused.error);
    let AgentConfig { live, fixed, .. } = config.unwrap();
    let addresses = Addresses::resolve(&fixed, &mut Vec::new()).unwrap();
    let bind = addresses.bind.ip();
    assert!(bind.is_loopback(), "reachable from other hosts");
    // There is no port through which every user of the host could control the agent.
    assert_eq!(fixed.rpc_addrs, ["unix:/run/cottar/rpc.sock"]);
    assert_eq!(fixed.rpc_socket_mode, 0o660);
    assert_eq!(fixed.rpc_control_group, None);
    assert!(fixed.start_join.is_empty() && fixed.retry_join.is_empty());
    assert!(live.event_handlers.is_empty());

    let flag = format!("-config-dir={}", directory.display());
    let agent = Agent::start(&["-node=fresh", &flag]);
    assert!(agent.sees("fresh", "alive"));
    // With this configuration the agent leaves on TERM, which is the only signal that some service managers
    // send.
    assert_eq!(agent.end(libc::SIGTERM), 0);
    let snapshot = content(&state.join("cottar/snapshot"));
    assert!(snapshot.contains("leave"), "{snapshot}");
}

#[test]
fn the_commented_line_opens_rpc_over_tcp() {
    let root = Root::new();
    let run = root.at("/run");
    fs::create_dir_all(run.join("cottar")).unwrap();
    root.make("install", &[&format!("RUNDIR={}", run.display())]);
    let path = root.at("/etc/cottar/cottar.json");
    let text = content(&path);
    let commented = "// \"127.0.0.1:7373\",";
    assert_eq!(text.matches(commented).count(), 1, "{text}");
    let socket = format!("unix:{}/cottar/rpc.sock", run.display());
    for (line, addrs) in [
        (commented, vec![socket.clone()]),
        (
            &commented[3..],
            vec!["127.0.0.1:7373".to_owned(), socket.clone()],
        ),
    ] {
        fs::write(&path, text.replace(commented, line)).unwrap();
        let config = AgentConfig::check(&read(path.parent().unwrap()), b"host").unwrap();
        assert_eq!(config.fixed.rpc_addrs, addrs);
        // The file that opens the port warns of the consequence.
        assert_eq!(
            config.notices.len(),
            addrs.len() - 1,
            "{:?}",
            config.notices
        );
    }
}

#[test]
fn the_example_of_a_cluster_is_accepted() {
    let root = Root::new();
    root.make("install", &[]);
    let settings = read(&root.at("/usr/share/doc/cottar/examples/cluster.json"));
    let config = AgentConfig::check(&settings, b"host").map_err(|refused| refused.error);
    let config = config.unwrap();
    assert_eq!(config.fixed.retry_join.len(), 2);
    assert_eq!(config.live.event_handlers.len(), 3);
    assert_eq!(config.fixed.rpc_addrs, ["unix:/run/cottar/rpc.sock"]);
    assert!(config.notices.is_empty(), "{:?}", config.notices);
}

fn read(path: &Path) -> Settings {
    let mut notices = Vec::new();
    let sources = Sources {
        paths: vec![path.to_owned()],
        flags: Settings::default(),
    };
    let settings = sources.read(Waiting::Refused, &mut notices).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
    settings
}

#[test]
fn the_example_of_a_handler_reads_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let logger = directory.path().join("logger");
    fs::write(&logger, "#!/bin/sh\nprintf '%s\\n' \"$*\"\n").unwrap();
    fs::set_permissions(&logger, fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/examples/members");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(&script)
        .env("PATH", path)
        .env("SERF_EVENT", "member-join")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"a b\t192.0.2.1\t\tk=v\nc\t::1\tweb\trole=web\n")
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "-t cottar member-join: a b at 192.0.2.1 (role: none, tags: k=v)\n\
         -t cottar member-join: c at ::1 (role: web, tags: role=web)\n"
    );
}
