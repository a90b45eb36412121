//! Packages for distributions whose tools are not at hand. Stand-ins for these tools run the packages' files:
//! shell functions, files that a makefile includes, a library for Nix.

use crate::live::{COTTAR, content, lacks_program};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn file(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// Runs a command, which must succeed and print nothing to standard error; returns what it prints.
fn printed(command: &mut Command) -> String {
    // The tests themselves may run under make.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{errors}");
    text.into_owned()
}

/// Returns all files below a directory.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.extend(files(&path).iter().map(|below| format!("{name}/{below}")));
        } else {
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found
}

/// Creates programs, first on the path, that record how they are called.
fn recorded(directory: &Path, names: &[&str]) -> String {
    for name in names {
        let program = directory.join(name);
        let text = format!(
            "#!/bin/sh\necho {name} \"$@\" >>{}/calls\n",
            directory.display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:/usr/bin:/bin", directory.display())
}

fn calls(directory: &Path) -> Vec<String> {
    let calls = content(&directory.join("calls"));
    calls.lines().map(str::to_owned).collect()
}

/// Returns the directory into which the source archive is unpacked.
const UNPACKED: &str = concat!("cottar-", env!("CARGO_PKG_VERSION"));

/// Runs the functions of a package script in a shell, in the directory in which its tools would start them:
/// the build and test functions with recording programs, the packaging function for real. Returns the calls,
/// and the packaged files.
fn packed(shell: &str, script: &str, below: &str) -> (Vec<String>, BTreeSet<String>) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["programs", "packed"] {
        fs::create_dir(at(name)).unwrap();
    }
    // The sources are in the directory into which the archive would be unpacked.
    std::os::unix::fs::symlink(ROOT, at(UNPACKED)).unwrap();
    let path = recorded(&at("programs"), &["make", "cargo"]);
    // The package's user exists only where the package tools have created it.
    let install = "install() { echo \"$*\" >>\"$pkgdir\"/../owners; }";
    let run = |path: &str, functions: &str, binary: &str| {
        printed(
            Command::new(shell)
                .args([
                    "-euc",
                    &format!("{install}\n. {}\n{functions}", file(script).display()),
                ])
                .current_dir(at(below))
                .env("PATH", path)
                .env("pkgdir", at("packed"))
                .env("COTTAR_BINARY", binary),
        )
    };
    run(&path, "(build)\n(check)", "");
    run("/usr/sbin:/usr/bin:/sbin:/bin", "package", COTTAR);
    (calls(&at("programs")), files(&at("packed")))
}

const BUILD: &[&str] = &[
    "make all OFFLINE=--offline",
    "cargo test --locked --offline --lib --bins --test vectors --test rpc",
];

#[test]
fn arch_builds_tests_and_packs_what_make_installs() {
    if lacks_program("a PKGBUILD", "bash") {
        return;
    }
    let (called, files) = packed("bash", "dist/arch/PKGBUILD", "");
    assert_eq!(called, BUILD);
    for name in [
        "usr/bin/cottar",
        "usr/lib/systemd/system/cottar.service",
        "usr/share/licenses/cottar/LICENSE",
        "etc/cottar/cottar.json",
    ] {
        assert!(files.contains(name), "{name} is not in {files:?}");
    }
    let hooks = format!(
        ". {}; type post_install post_upgrade pre_remove >/dev/null",
        file("dist/arch/cottar.install").display()
    );
    printed(Command::new("sh").args(["-euc", &hooks]));
}

#[test]
fn alpine_builds_tests_and_packs_what_make_installs() {
    let (called, files) = packed("sh", "dist/alpine/APKBUILD", UNPACKED);
    assert_eq!(called, BUILD);
    for name in [
        "usr/bin/cottar",
        "usr/libexec/cottar/keep",
        "etc/init.d/cottar",
        "etc/conf.d/cottar",
        "etc/cottar/cottar.json",
        "usr/share/licenses/cottar/LICENSE",
    ] {
        assert!(files.contains(name), "{name} is not in {files:?}");
    }
    // The service file is packaged with the supervisor script that it runs.
    let split = format!(
        "default_openrc() {{ echo default; }}; amove() {{ echo \"$@\"; }}; . {}; openrc; \
         echo $subpackages; echo $install",
        file("dist/alpine/APKBUILD").display()
    );
    assert_eq!(
        printed(Command::new("sh").args(["-euc", &split])),
        "default\nusr/libexec/cottar\ncottar-doc cottar-openrc cottar-bash-completion \
         cottar-zsh-completion cottar-fish-completion\ncottar.pre-install\n"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), &["addgroup", "adduser"]);
    let script = file("dist/alpine/cottar.pre-install");
    printed(Command::new("sh").arg(script).env("PATH", path));
    assert_eq!(
        calls(directory.path()),
        [
            "addgroup -S cottar",
            "adduser -S -D -H -h /var/lib/cottar -s /sbin/nologin -G cottar -g cottar cottar"
        ]
    );
}

/// The parts of OpenWrt's build system that the package includes.
const RULES: &str = "INCLUDE_DIR = $(TOPDIR)/include\nRUST_ARCH_DEPENDS = @arch\n";
const PACKAGE: &str = "\
define BuildPackage
packages:: ; @echo '$(1)' '$$(strip $$(Package/$(1)))' | tr '\\n' ' '
.PHONY: install-$(1)
install-$(1): ; $$(call Package/$(1)/install,$(TO))
endef
";
const RUST: &str =
    "define RustBinPackage\nendef\ncompile: ; @echo cargo install $(CARGO_PKG_ARGS)\n";

#[test]
fn openwrt_has_two_variants_and_packs_what_a_router_needs() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("top");
    let rust = top.join("feeds/packages/lang/rust");
    let bin = directory.path().join("installed/bin");
    for made in [&rust, &top.join("include"), &bin] {
        fs::create_dir_all(made).unwrap();
    }
    fs::write(top.join("rules.mk"), RULES).unwrap();
    fs::write(top.join("include/package.mk"), PACKAGE).unwrap();
    fs::write(rust.join("rust-package.mk"), RUST).unwrap();
    std::os::unix::fs::symlink(COTTAR, bin.join("cottar")).unwrap();
    let make = |goal: &str, variables: &[String]| {
        let mut make = Command::new("make");
        make.args(["-s", "-f", "dist/openwrt/Makefile", goal])
            .current_dir(ROOT)
            .arg(format!("TOPDIR={}", top.display()))
            .arg(format!("PKG_BUILD_DIR={ROOT}"))
            .arg(format!(
                "PKG_INSTALL_DIR={}/installed",
                directory.path().display()
            ))
            .args(variables);
        printed(&mut make)
    };
    assert_eq!(
        make("compile", &["BUILD_VARIANT=full".into()]),
        "cargo install\n"
    );
    assert_eq!(
        make("compile", &["BUILD_VARIANT=mini".into()]),
        "cargo install --no-default-features\n"
    );
    for package in ["cottar", "cottar-mini"] {
        let to = directory.path().join(package);
        make(
            &format!("install-{package}"),
            &[format!("TO={}", to.display())],
        );
        let expected = [
            "etc/cottar/cottar.json",
            "etc/init.d/cottar",
            "usr/bin/cottar",
            "usr/libexec/cottar/keep",
        ];
        assert_eq!(files(&to), expected.map(str::to_owned).into());
    }
}

/// The parts of nixpkgs that the files for Nix use.
const NIXPKGS: &str = r#"
lib = rec {
  mkEnableOption = text: text; mkOption = option: option; mkDefault = value: value;
  mkIf = condition: value: value;
  types = { package = 0; bool = 0; path = 0; listOf = of: of; attrsOf = of: of; };
  mapAttrs = builtins.mapAttrs;
  optional = condition: value: if condition then [ value ] else [ ];
  nameValuePair = name: value: { inherit name value; };
  mapAttrs' = f: set: builtins.listToAttrs (map (name: f name set.${name}) (builtins.attrNames set));
  getExe = package: "${package}/bin/cottar";
  cleanSource = path: toString path;
  licenses.mit = "MIT"; platforms.linux = [ ];
};
pkgs = {
  formats.json = settings: { type = 0; generate = name: value: builtins.toJSON value; };
  bash = "/bash"; coreutils = "/coreutils";
};
config = {
  services.cottar = { enable = true; package = "/cottar"; settings = { }; path = [ ]; openFirewall = false;
    handlers."10-deploy" = "/deploy"; };
  environment.etc."cottar/cottar.json".source = "/json";
};
"#;

/// Returns the value of a Nix expression.
fn evaluated(expression: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("let {NIXPKGS} in {expression}");
    let output = Command::new("nix-instantiate")
        .args([
            "--store", "dummy://", "--eval", "--strict", "--json", "-E", &text,
        ])
        .env("HOME", directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn nix_has_the_service_and_the_configuration_of_the_others() {
    if lacks_program("the files for Nix", "nix-instantiate") {
        return;
    }
    let package = file("dist/nix/package.nix").display().to_string();
    let made = format!(
        "(builtins.removeAttrs (import {package} {{ inherit lib; rustPlatform.buildRustPackage = set: set; }}) \
         [ \"cargoLock\" ])"
    );
    let made = evaluated(&made);
    assert_eq!(made["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(made["meta"]["description"], env!("CARGO_PKG_DESCRIPTION"));

    let module = file("dist/nix/module.nix").display().to_string();
    let made = format!("(import {module} {{ inherit config lib pkgs; }}).config");
    let service = evaluated(&format!("{made}.systemd.services.cottar"));
    assert_eq!(service["startLimitIntervalSec"], 0);
    let settings = service["serviceConfig"].as_object().unwrap();
    let unit = content(&file("dist/systemd/cottar.service"));
    let (_, section) = unit.split_once("[Service]\n").unwrap();
    let (section, _) = section.split_once("[Install]").unwrap();
    let mut seen = BTreeSet::new();
    for line in section.lines().filter(|line| line.contains('=')) {
        if line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        seen.insert(key);
        let made = match &settings[key] {
            Value::Bool(true) => "yes".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Array(list) => {
                let words = list.iter().map(|word| word.as_str().unwrap());
                words.collect::<Vec<_>>().join(" ")
            }
            Value::String(text) => text.clone(),
            other => panic!("{key} is {other}"),
        };
        // Nix installs programs in other directories.
        if !key.starts_with("Exec") {
            assert_eq!(made, value, "{key}");
        }
    }
    let keys: BTreeSet<&str> = settings.keys().map(String::as_str).collect();
    assert_eq!(keys, seen);

    let etc = evaluated(&format!("{made}.environment.etc"));
    assert_eq!(etc["cottar/handlers.d/10-deploy"]["source"], "/deploy");
    let made = evaluated(&format!("{made}.services.cottar.settings"));
    let mut installed = content(&file("dist/examples/cottar.json"));
    for (mark, directory) in [
        ("@RUNDIR@", "/run"),
        ("@SYSCONFDIR@", "/etc"),
        ("@STATEDIR@", "/var/lib"),
    ] {
        installed = installed.replace(mark, directory);
    }
    let lines = installed
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let installed: Value = serde_json::from_str(&lines.collect::<String>()).unwrap();
    assert_eq!(made, installed);
}

#[test]
fn the_spec_lists_what_make_installs() {
    let spec = content(&file("dist/rpm/cottar.spec"));
    let (_, listed) = spec.split_once("\n%files\n").unwrap();
    let (listed, _) = listed.split_once("\n%changelog\n").unwrap();
    let directory = tempfile::tempdir().unwrap();
    printed(
        Command::new("make")
            .args([
                "-s",
                "install",
                "PREFIX=/usr",
                "LICENSEDIR=/usr/share/licenses/cottar",
            ])
            .arg(format!("DESTDIR={}", directory.path().display()))
            .arg(format!("BINARY={COTTAR}"))
            .current_dir(ROOT),
    );
    let mut patterns = BTreeSet::new();
    for line in listed.lines().filter(|line| !line.starts_with("%dir")) {
        let mut path = line.split(' ').next_back().unwrap().to_owned();
        for (name, place) in [
            ("_unitdir", "/usr/lib/systemd/system"),
            ("_sysusersdir", "/usr/lib/sysusers.d"),
            ("_tmpfilesdir", "/usr/lib/tmpfiles.d"),
            ("_sysconfdir", "/etc"),
            ("_datadir", "/usr/share"),
            ("_mandir", "/usr/share/man"),
            ("_bindir", "/usr/bin"),
        ] {
            path = path.replace(&format!("%{{{name}}}"), place);
        }
        assert!(!path.contains('%'), "{line}");
        patterns.insert(path);
    }
    let mut used = BTreeSet::new();
    for name in files(directory.path()) {
        let name = format!("/{name}");
        let pattern = patterns
            .iter()
            .find(|pattern| match pattern.split_once('*') {
                Some((start, end)) => name
                    .strip_prefix(start)
                    .is_some_and(|rest| rest.ends_with(end.trim_end_matches('*'))),
                None => name == **pattern || name.starts_with(&format!("{pattern}/")),
            });
        let pattern = pattern.unwrap_or_else(|| panic!("{name} is in no package"));
        used.insert(pattern.clone());
    }
    assert_eq!(used, patterns, "what is listed is installed");
}
