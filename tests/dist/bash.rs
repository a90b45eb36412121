//! Completion for bash.

use crate::words::{Values, arguments_of, first_words, paths, second_words, values_of};
use std::fmt::Write as _;

const HEAD: &str = r#"# Completion of cottar(1) for bash. Made from the table of flags by "make completions".

_cottar() {
    local words=() line=${COMP_LINE:0:COMP_POINT} index word
    # The shell splits words at "=" and ":"; what has no blank in front belongs together again.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if ((index == 0)) || [[ $line == [[:blank:]]* ]]; then
            line=${line#"${line%%[![:blank:]]*}"}
            words+=('')
        fi
        ((index < COMP_CWORD)) || word=$line
        words[${#words[@]} - 1]+=$word
        line=${line#"$word"}
    done

    COMPREPLY=()
    local last=$((${#words[@]} - 1))
    local cur=${words[last]} path=${words[1]} first=2
"#;

const FLAGS: &str = r#"
    # Flags end at the first argument. Is the current word the value of the one before?
    local name='' open=1 value=$cur
    for ((index = first; index < last; index++)); do
        word=${words[index]}
        name=''
        case $word in
            -- | - | [!-]* | '') open='' && break ;;
            *=*) ;;
            *)
                name=${word#-} name=${name#-}
                [[ $takes == *" $name "* ]] || name=''
                [[ -z $name ]] || ((++index))
                ;;
        esac
    done
    # Only a flag that is the last word before this one still wants its value.
    [[ -n $open ]] && ((index > last)) || name=''
    if [[ -z $name && -n $open && $cur == -*=* ]]; then
        name=${cur%%=*} name=${name#-} name=${name#-}
        value=${cur#*=}
    elif [[ -z $name ]]; then
        if [[ -n $open && ($cur == -* || -z $cur && -z $arguments) ]]; then
            [[ $cur == --* ]] && flags=("${flags[@]/#-/--}")
            _cottar_words "$cur" "${flags[@]}"
        elif [[ $arguments == file ]]; then
            _cottar_files -f "$cur"
        fi
        return
    fi
"#;

const TAIL: &str = r#"    esac
    [[ $value == "$cur" || $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/${cur%%=*}=}")
}

# Proposes those of the words that begin with the first argument.
_cottar_words() {
    local begun=$1 word
    shift
    for word; do
        [[ $word == "$begun"* ]] && COMPREPLY+=("$word")
    done
    _cottar_cut "$begun"
}

# Likewise, of several with commas in between.
_cottar_list() {
    local begun=$1 head=''
    shift
    [[ $begun == *,* ]] && head=${begun%,*},
    _cottar_words "$begun" "${@/#/$head}"
}

_cottar_files() {
    mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
    compopt -o filenames 2>/dev/null
    _cottar_cut "$2"
}

_cottar_interfaces() {
    local path names=()
    for path in /sys/class/net/*; do
        names+=("${path##*/}")
    done
    _cottar_words "$1" "${names[@]}"
}

# The shell replaces only what follows the last character at which it splits.
_cottar_cut() {
    local kept=$1 index
    [[ $kept == *[=:]* && $COMP_WORDBREAKS == *=* && $COMP_WORDBREAKS == *:* ]] || return 0
    kept=${kept%"${kept##*[=:]}"}
    for index in "${!COMPREPLY[@]}"; do
        COMPREPLY[index]=${COMPREPLY[index]#"$kept"}
    done
}

complete -F _cottar cottar serf
"#;

pub fn script() -> String {
    let mut text = HEAD.to_owned();
    let names: Vec<&str> = first_words().iter().map(|(name, _)| *name).collect();
    let _ = write!(
        text,
        "    if ((last == 1)); then\n        _cottar_words \"$cur\" {} --help --version\n        return\n    fi\n",
        names.join(" ")
    );
    let groups: Vec<&str> = names
        .into_iter()
        .filter(|name| !second_words(name).is_empty())
        .collect();
    for group in groups {
        let words: Vec<&str> = second_words(group).iter().map(|(word, _)| *word).collect();
        let _ = write!(
            text,
            "    if [[ $path == {group} ]]; then\n        if ((last == 2)); then\n            _cottar_words \"$cur\" {}\n            return\n        fi\n        path+=\" ${{words[2]}}\" first=3\n    fi\n",
            words.join(" ")
        );
    }
    text.push_str("\n    local flags=() takes='' arguments=''\n    case $path in\n");
    for (path, command) in paths() {
        let _ = writeln!(text, "        {})", quoted(&path));
        let (mut flags, mut takes) = (String::new(), String::new());
        for flag in command.all_flags() {
            let off = if flag.default == "true" { "=false" } else { "" };
            let _ = write!(flags, " -{}{off}", flag.name);
            if !flag.kind.is_switch() {
                let _ = write!(takes, " {}", flag.name);
            }
        }
        let _ = writeln!(text, "            flags=({})", flags.trim_start());
        let _ = writeln!(text, "            takes='{takes} '");
        let arguments = match (command.arguments, arguments_of(command)) {
            ("", _) => "",
            (_, Values::File) => "file",
            _ => "other",
        };
        let _ = writeln!(text, "            arguments='{arguments}'");
        let _ = writeln!(text, "            ;;");
    }
    text.push_str("        *) return ;;\n    esac\n");
    text.push_str(FLAGS);
    text.push_str("    case \"$path $name\" in\n");
    for (path, command) in paths() {
        for flag in command.all_flags() {
            let propose = match values_of(command, flag) {
                Values::Unknown => continue,
                Values::Words(words) => format!("_cottar_words \"$value\" {}", words.join(" ")),
                Values::List(words) => format!("_cottar_list \"$value\" {}", words.join(" ")),
                Values::File => "_cottar_files -f \"$value\"".to_owned(),
                Values::Directory => "_cottar_files -d \"$value\"".to_owned(),
                Values::Interface => "_cottar_interfaces \"$value\"".to_owned(),
            };
            let at = format!("{path} {}", flag.name);
            let _ = writeln!(text, "        {}) {propose} ;;", quoted(&at));
        }
    }
    text.push_str(TAIL);
    text
}

fn quoted(words: &str) -> String {
    if words.contains(' ') {
        format!("'{words}'")
    } else {
        words.to_owned()
    }
}
