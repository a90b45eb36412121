//! Dependencies between files: no cycles, and each folder of the agent uses only those below it.

use std::collections::{BTreeMap, BTreeSet};

use super::{module_of, sources, test_files};
use crate::paths::uses;
use crate::tokens::{Token, tokens, without_tests};

/// The agent's folders in layers, lowest first. A folder may use itself and the folders of lower layers.
const FLOORS: &[&[&str]] = &[
    &["observe", "files", "mdns", "net"],
    &["process"],
    &["config"],
    &["rpc"],
    &["run"],
];

/// Limit on steps through re-exported names; no real chain is as long.
const STEPS_MAX: usize = 8;

/// `agent::net` as `["agent", "net"]`.
type Module = Vec<String>;

/// Dependency graph of the source files.
struct Tree {
    /// The file of each module, without tests and without the replacements of excluded features.
    files: BTreeMap<Module, String>,
    /// The target of each name that a module re-exports with `pub use`.
    aliases: BTreeMap<(Module, String), Module>,
    /// The paths that each file uses, with line numbers.
    paths: BTreeMap<Module, Vec<(usize, Module)>>,
}

/// A dependency of one file on another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: Module,
    to: Module,
    line: usize,
}

impl Arrow {
    /// Returns whether the dependency is on an enclosing module; these are not checked.
    fn is_to_parent(&self) -> bool {
        self.from.starts_with(&self.to)
    }
}

impl Tree {
    fn new(sources: &[(String, String)]) -> Tree {
        let exempt = test_files(sources);
        let is_counted = |file: &str| {
            let is_top = matches!(file, "src/lib.rs" | "src/main.rs");
            !(is_top || exempt.contains(file) || file.contains("/absent/"))
        };
        let counted: Vec<_> = sources
            .iter()
            .filter(|(file, _)| is_counted(file))
            .collect();
        let files = counted
            .iter()
            .map(|(file, _)| (module_of(file), file.clone()))
            .collect();
        let mut tree = Tree {
            files,
            aliases: BTreeMap::new(),
            paths: BTreeMap::new(),
        };
        for (file, source) in counted {
            let module = module_of(file);
            let (tokens, _) = without_tests(&tokens(source));
            for path in handed_on(&tokens)
                .flat_map(|at| tree.paths_of(&tokens[at..], &module, true))
                .map(|(_, path)| path)
                .collect::<Vec<_>>()
            {
                if let Some(name) = path.last() {
                    tree.aliases.insert((module.clone(), name.clone()), path);
                }
            }
            let paths = tree.paths_of(&tokens, &module, false);
            tree.paths.insert(module, paths);
        }
        tree
    }

    /// Returns paths within the package, from its root, of one statement or of the whole file.
    fn paths_of(
        &self,
        tokens: &[(usize, Token)],
        module: &[String],
        one_statement: bool,
    ) -> Vec<(usize, Module)> {
        let end = tokens.iter().position(|(_, token)| token.is(';'));
        let end = end.filter(|_| one_statement).unwrap_or(tokens.len());
        let mut paths = Vec::new();
        for found in uses(&tokens[..end], module) {
            let path: Module = found.path.split("::").map(str::to_owned).collect();
            let child = [module, &path[..1]].concat();
            if path[0] == "crate" {
                paths.push((found.line, path[1..].to_vec()));
            } else if self.files.contains_key(&child) {
                paths.push((found.line, [module, &path].concat()));
            }
        }
        paths
    }

    /// Returns the module whose file defines the end of a path, after following re-exports.
    fn home(&self, path: &[String]) -> Option<Module> {
        let mut path = path.to_vec();
        for _ in 0..STEPS_MAX {
            let lengths = (1..=path.len()).rev();
            let mut known = lengths.filter(|len| self.files.contains_key(&path[..*len]));
            let (module, rest) = path.split_at(known.next()?);
            let Some((name, rest)) = rest.split_first() else {
                return Some(module.to_vec());
            };
            match self.aliases.get(&(module.to_vec(), name.clone())) {
                Some(target) => path = [target, rest].concat(),
                None => return Some(module.to_vec()),
            }
        }
        None
    }

    fn arrows(&self) -> BTreeSet<Arrow> {
        let mut lines = BTreeMap::new();
        for (from, paths) in &self.paths {
            for (line, path) in paths {
                if let Some(to) = self.home(path).filter(|to| to != from) {
                    lines.entry((from.clone(), to)).or_insert(*line);
                }
            }
        }
        let arrow = |((from, to), line)| Arrow { from, to, line };
        lines.into_iter().map(arrow).collect()
    }

    fn list<'a>(&self, arrows: impl IntoIterator<Item = &'a Arrow>) -> Vec<String> {
        arrows
            .into_iter()
            .map(|Arrow { from, to, line }| {
                format!("{}:{line} uses {}", self.files[from], to.join("::"))
            })
            .collect()
    }
}

/// Returns the positions of the word `use` in `pub use` statements.
fn handed_on(tokens: &[(usize, Token)]) -> impl Iterator<Item = usize> {
    (1..tokens.len()).filter(|at| {
        let before = &tokens[at - 1].1;
        let is_public = before.word() == Some("pub") || before.is(')');
        tokens[*at].1.word() == Some("use") && is_public
    })
}

/// Returns the dependencies that are part of a cycle of files, or on a path between cycles.
fn circles(arrows: &BTreeSet<Arrow>) -> Vec<&Arrow> {
    let mut left: Vec<&Arrow> = arrows
        .iter()
        .filter(|arrow| !arrow.is_to_parent())
        .collect();
    loop {
        // A file that no file uses, or that uses no file, is in no cycle.
        let users: BTreeSet<&Module> = left.iter().map(|arrow| &arrow.from).collect();
        let used: BTreeSet<&Module> = left.iter().map(|arrow| &arrow.to).collect();
        let before = left.len();
        left.retain(|arrow| used.contains(&arrow.from) && users.contains(&arrow.to));
        if left.len() == before {
            return left;
        }
    }
}

/// Returns the dependency between the sibling folders of two files. `None`: one of them is in no such folder,
/// like `serf/command.rs`, which has the types that the folders of `serf` share.
fn between_folders(tree: &Tree, Arrow { from, to, line }: &Arrow) -> Option<Arrow> {
    let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let folder = |module: &Module| {
        let folder = module.get(..=shared)?;
        let mut others = tree.files.keys();
        others
            .any(|other| other.len() > folder.len() && other.starts_with(folder))
            .then(|| folder.to_vec())
    };
    let (from, to, line) = (folder(from)?, folder(to)?, *line);
    Some(Arrow { from, to, line })
}

/// Returns the dependencies that are part of a cycle of folders.
fn folder_circles(tree: &Tree) -> Vec<Arrow> {
    let arrows = tree.arrows();
    let pairs: Vec<_> = arrows
        .iter()
        .filter_map(|arrow| Some((arrow, between_folders(tree, arrow)?)))
        .collect();
    // Line numbers must not distinguish dependencies here.
    let folders: BTreeSet<_> = pairs
        .iter()
        .map(|(_, pair)| Arrow {
            line: 0,
            ..pair.clone()
        })
        .collect();
    let circling = circles(&folders);
    let is_circling = |pair: &Arrow| {
        circling.contains(&&Arrow {
            line: 0,
            ..pair.clone()
        })
    };
    let found = pairs.iter().filter(|(_, pair)| is_circling(pair));
    found.map(|(arrow, _)| (*arrow).clone()).collect()
}

/// Returns the layer and the folder of a module of the agent.
fn floor(module: &[String]) -> Option<(usize, &str)> {
    let room = module.get(1).filter(|_| module[0] == "agent")?;
    let floor = FLOORS.iter().position(|floor| floor.contains(&&**room))?;
    Some((floor, room))
}

/// Returns whether both modules are in folders of the agent and the dependency does not point to a lower
/// layer.
pub fn climbs(from: &[String], to: &[String]) -> bool {
    match (floor(from), floor(to)) {
        (Some((from, room)), Some((to, other))) => to >= from && room != other,
        _ => false,
    }
}

/// Returns the dependencies between folders of the agent that do not point to a lower layer.
fn climbing(arrows: &BTreeSet<Arrow>) -> Vec<&Arrow> {
    let climbs = |arrow: &&Arrow| climbs(&arrow.from, &arrow.to);
    arrows.iter().filter(climbs).collect()
}

#[test]
fn no_files_use_each_other() {
    let tree = Tree::new(&sources());
    let found = tree.list(circles(&tree.arrows()));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Lists for each module the sibling modules that it uses, one line each.
fn uses_of_neighbours(tree: &Tree) -> String {
    let mut uses: BTreeMap<Module, BTreeSet<String>> = BTreeMap::new();
    for Arrow { from, to, .. } in tree.arrows() {
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if let (Some(user), Some(used)) = (from.get(..=shared), to.get(shared)) {
            let used = used.clone();
            uses.entry(user.to_vec()).or_default().insert(used);
        }
    }
    let line = |(user, used): (Module, BTreeSet<String>)| {
        let used: Vec<_> = used.into_iter().collect();
        format!("{} -> {}\n", user.join("::"), used.join(", "))
    };
    uses.into_iter().map(line).collect()
}

#[test]
fn no_folders_use_each_other() {
    let tree = Tree::new(&sources());
    // Printed with --nocapture.
    println!("{}", uses_of_neighbours(&tree));
    let found = tree.list(&folder_circles(&tree));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn folders_of_the_agent_use_those_below() {
    let tree = Tree::new(&sources());
    let found = tree.list(climbing(&tree.arrows()));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_folder_of_the_agent_has_a_layer() {
    let tree = Tree::new(&sources());
    let rooms = tree.files.keys().filter(|module| module[0] == "agent");
    let homeless: Vec<_> = rooms
        .filter(|module| module.len() > 1 && floor(module).is_none())
        .collect();
    assert!(homeless.is_empty(), "{homeless:?}");
    let rooms: BTreeSet<_> = tree
        .files
        .keys()
        .filter_map(|module| floor(module))
        .collect();
    assert_eq!(rooms.len(), FLOORS.iter().map(|floor| floor.len()).sum());
}

fn made_up(sources: &[(&str, &str)]) -> Tree {
    let owned = |(file, source): &(&str, &str)| ((*file).to_owned(), (*source).to_owned());
    Tree::new(&sources.iter().map(owned).collect::<Vec<_>>())
}

#[test]
fn cycles_of_files_are_found() {
    let between = |a: &str, b: &str| {
        let parent = "mod a; mod b; mod c; pub use c::C; pub struct Swim;";
        let c = ("src/swim/c.rs", "use super::Swim; pub struct C;");
        let tree = made_up(&[
            ("src/swim/mod.rs", parent),
            ("src/swim/a.rs", a),
            ("src/swim/b.rs", b),
            c,
        ]);
        tree.list(circles(&tree.arrows()))
    };
    let both = [
        "src/swim/a.rs:1 uses swim::b",
        "src/swim/b.rs:1 uses swim::a",
    ];
    assert_eq!(between("use super::b::B;", "use super::a::A;"), both);
    assert_eq!(
        between("use crate::swim::{Swim, b};", "fn f() { super::a::f() }"),
        both
    );
    // Through a third file, and through a name that the parent re-exports.
    let c = |a: &str, b: &str| {
        let tree = made_up(&[
            ("src/swim/mod.rs", "mod a; mod b; mod c; pub use c::C;"),
            ("src/swim/a.rs", a),
            ("src/swim/b.rs", b),
            ("src/swim/c.rs", "use super::a;"),
        ]);
        circles(&tree.arrows()).len()
    };
    assert_eq!(c("use super::b;", "use super::C;"), 3);
    // Dependencies between child and parent, and those of tests, are allowed.
    assert_eq!(between("use super::Swim;", "use super::C;"), [""; 0]);
    let in_test = "#[cfg(test)] mod tests { use super::super::a::A; }";
    assert_eq!(between("use super::b::B;", in_test), [""; 0]);
    // A `mod.rs` counts as a file of its folder.
    let tree = made_up(&[
        ("src/serf/x/mod.rs", "mod a; use a::A;"),
        ("src/serf/x/a.rs", "use crate::serf::y::Y;"),
        ("src/serf/y.rs", "use super::x::X;"),
    ]);
    assert_eq!(circles(&tree.arrows()).len(), 3);
}

#[test]
fn cycles_of_folders_are_found() {
    let found = |a: &str, b: &str| {
        let tree = made_up(&[
            ("src/serf/mod.rs", "pub struct Serf;"),
            ("src/serf/x/mod.rs", ""),
            ("src/serf/x/a.rs", a),
            ("src/serf/x/c.rs", "pub struct C;"),
            ("src/serf/y/mod.rs", ""),
            ("src/serf/y/b.rs", b),
            ("src/serf/y/d.rs", "pub struct D;"),
            ("src/serf/z.rs", "use crate::serf::x::c::C; pub struct Z;"),
        ]);
        assert!(circles(&tree.arrows()).is_empty(), "none of files");
        folder_circles(&tree).len()
    };
    let to_y = "use crate::serf::y::d::D;";
    assert_eq!(found(to_y, "use crate::serf::x::c::C;"), 2);
    assert_eq!(found(to_y, "fn f() { super::super::x::c::f() }"), 2);
    assert_eq!(found(to_y, "use super::d::D; use crate::serf::Serf;"), 0);
    assert_eq!(found("use super::c::C;", "use crate::serf::x::c::C;"), 0);
    let tree = made_up(&[
        ("src/serf/x/a.rs", "use super::b::B; use crate::swim::Swim;"),
        ("src/serf/x/b.rs", "use crate::serf::y;"),
        ("src/serf/y.rs", ""),
        ("src/swim.rs", ""),
    ]);
    let shown = "serf -> swim\nserf::x -> y\nserf::x::a -> b\n";
    assert_eq!(uses_of_neighbours(&tree), shown);
    // A file beside the folders.
    assert_eq!(found("use crate::serf::z::Z;", ""), 0);
}

#[test]
fn upward_dependencies_are_found() {
    for (file, source, climbs) in [
        ("src/agent/net/x.rs", "use crate::agent::rpc::Lost;", true),
        ("src/agent/net/x.rs", "use super::super::rpc;", true),
        ("src/agent/net/x.rs", "use crate::agent::files::f;", true),
        ("src/agent/config/x.rs", "use crate::agent::run;", true),
        (
            "src/agent/config/x.rs",
            "fn f() { crate::agent::run::f() }",
            true,
        ),
        ("src/agent/net/x.rs", "use super::y;", false),
        ("src/agent/run/x.rs", "use crate::agent::{net, rpc};", false),
        ("src/agent/rpc/x.rs", "use crate::rpc::Request;", false),
    ] {
        let tree = made_up(&[
            ("src/agent/net/mod.rs", ""),
            ("src/agent/files/mod.rs", ""),
            ("src/agent/rpc/mod.rs", ""),
            ("src/agent/run/mod.rs", ""),
            ("src/rpc/mod.rs", ""),
            (file, source),
        ]);
        let found = tree.list(climbing(&tree.arrows()));
        assert_eq!(!found.is_empty(), climbs, "{file}: {source}: {found:?}");
    }
}
