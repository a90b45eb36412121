//! cottar-tutorial(7), replayed as it is: its files are those that are installed, and its commands are run in
//! order, in a separate network namespace.
//!
//! A display that begins with a command is part of the session. The other displays are files; the last `Pa`
//! before a display names the file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::install::Root;
use crate::live::namespace::{in_own_network, lacks_networks};
use crate::live::{arg, content, lacks_program};
use crate::session::{Session, Step, steps};

/// The directory in which a distribution installs the page's files.
const EXAMPLES: &str = "/usr/share/doc/cottar/examples";
/// Line width that fits on a terminal of 80 columns within the page's margins.
const COLUMNS: usize = 73;

/// The page's displays.
#[derive(Debug, Default)]
struct Displays {
    session: Vec<Step>,
    files: BTreeMap<String, String>,
}

fn displays(page: &str) -> Displays {
    let mut displays = Displays::default();
    let mut name = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix(".Pa ") {
            name = rest.split(' ').next();
        }
        if !line.starts_with(".Bd -literal") {
            continue;
        }
        let shown: Vec<String> = lines
            .by_ref()
            .take_while(|l| *l != ".Ed")
            .map(plain)
            .collect();
        if shown[0].starts_with("$ ") {
            displays
                .session
                .extend(steps(shown.iter().map(String::as_str)));
        } else {
            let name = name.expect("the name of a file").to_owned();
            let text: String = shown.iter().map(|line| format!("{line}\n")).collect();
            let earlier = displays.files.insert(name, text);
            assert_eq!(earlier, None, "a file is shown twice");
        }
    }
    displays
}

/// Converts a line of a display to the text that a reader sees.
fn plain(line: &str) -> String {
    let text = line.replace("\\&", "").replace("\\e", "\u{0}");
    assert!(!text.contains('\\'), "unknown escape: {line}");
    let text = text.replace('\u{0}', "\\");
    assert!(text.chars().count() <= COLUMNS, "too wide: {line}");
    text
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/cottar-tutorial.7");
    std::fs::read_to_string(path).expect("the page")
}

#[test]
fn the_tutorial_shows_the_files_that_are_installed() {
    let root = Root::new();
    root.make("install", &[]);
    let shown = displays(&page()).files;
    let folder = format!("{EXAMPLES}/tutorial/");
    let installed: Vec<_> = root.files().into_iter().collect();
    let installed = installed
        .iter()
        .filter_map(|path| path.strip_prefix(&folder));
    assert_eq!(
        installed.collect::<Vec<_>>(),
        shown.keys().collect::<Vec<_>>()
    );
    for (name, text) in shown {
        assert_eq!(content(&root.at(&(folder.clone() + &name))), text, "{name}");
    }
}

#[test]
fn the_tutorial_can_be_followed() {
    let scenario = "the tutorial";
    if lacks_networks(scenario) || lacks_program(scenario, "jq") {
        return;
    }
    let root = Root::new();
    root.make("install", &[]);
    let page = page();
    assert!(page.contains(EXAMPLES));
    let page = page.replace(EXAMPLES, arg(&root.at(EXAMPLES)));
    let steps = displays(&page).session;
    assert!(steps.len() > 50, "too few commands: {steps:#?}");
    let folder = tempfile::tempdir().expect("a folder");
    let followed = in_own_network(|| {
        let mut session = Session::start(folder.path(), &[]);
        for step in &steps {
            session.follow(step);
        }
    });
    followed.expect("a network");
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn displays_of_a_page_are_parsed() {
    let page = ".Pa nothing\n.Pa f ,\n.Bd -literal -offset 2n\nx\\ey\n\\&.z\n.Ed\n\
                .Bd -literal\n$ cat f\nx\\ey\n\\&...\n.Ed\n";
    let displays = displays(page);
    assert_eq!(displays.files["f"], "x\\y\n.z\n");
    assert_eq!(displays.session[0].command, "cat f");
    assert_eq!(displays.session[0].output, "x\\y\n...\n");
}
