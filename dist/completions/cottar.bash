# Completion of cottar(1) for bash.

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
    # From the table of flags, by "make completions":
    if ((last == 1)); then
        _cottar_words "$cur" agent event force-leave handler help info join keygen keys leave members monitor query reachability rtt tags version wait --help --version
        return
    fi
    if [[ $path == handler ]]; then
        if ((last == 2)); then
            _cottar_words "$cur" check drop list pause queue resume run sync test
            return
        fi
        path+=" ${words[2]}" first=3
    fi
    # End of what comes from the table.

    local flags=() takes='' arguments=''
    case $path in
        # From the table of flags, by "make completions":
        agent)
            flags=(-advertise -allow -bind -broadcast-timeout -check -config-dir -config-file -disable-compression -discover -encrypt -event-handler -handler-dir -handler-grace -handler-leave-wait -handler-timeout -iface -join -journal -journal-size-limit -keyring-file -label -log-level -mdns-disable-ipv4 -mdns-disable-ipv6 -mdns-iface -node -profile -protocol -rejoin -replay -retry-interval -retry-join -retry-max -role -rpc-addr -snapshot -syslog -tag -tags-file)
            takes=' advertise allow bind broadcast-timeout config-dir config-file discover encrypt event-handler handler-dir handler-grace handler-leave-wait handler-timeout iface join journal journal-size-limit keyring-file label log-level mdns-iface node profile protocol retry-interval retry-join retry-max role rpc-addr snapshot tag tags-file '
            arguments=''
            ;;
        event)
            flags=(-coalesce=false -format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='other'
            ;;
        force-leave)
            flags=(-format -prune -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='nodes'
            ;;
        'handler check')
            flags=(-format)
            takes=' format '
            arguments='file'
            ;;
        'handler drop')
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='handlers'
            ;;
        'handler list')
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments=''
            ;;
        'handler pause')
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='handlers'
            ;;
        'handler queue')
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments=''
            ;;
        'handler resume')
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='handlers'
            ;;
        'handler run')
            flags=(-format -ltime -payload -quiet -rpc-addr -rpc-auth)
            takes=' format ltime payload rpc-addr rpc-auth '
            arguments='handlers'
            ;;
        'handler sync')
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='handlers'
            ;;
        'handler test')
            flags=(-coalesce=false -config-file -format -handler-grace -handler-timeout -ltime -node -payload -query-response-size-limit -quiet -role -tag)
            takes=' config-file format handler-grace handler-timeout ltime node payload query-response-size-limit role tag '
            arguments='file'
            ;;
        help)
            flags=()
            takes=' '
            arguments=''
            ;;
        info)
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments=''
            ;;
        join)
            flags=(-format -replay -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='other'
            ;;
        keygen)
            flags=(-format)
            takes=' format '
            arguments=''
            ;;
        keys)
            flags=(-format -install -list -remove -use -rpc-addr -rpc-auth)
            takes=' format install remove use rpc-addr rpc-auth '
            arguments=''
            ;;
        leave)
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments=''
            ;;
        members)
            flags=(-0 -detailed -fields -format -name -role -status -strict -tag -rpc-addr -rpc-auth)
            takes=' fields format name role status tag rpc-addr rpc-auth '
            arguments=''
            ;;
        monitor)
            flags=(-count -event -format -log-level -timeout -rpc-addr -rpc-auth)
            takes=' count event format log-level timeout rpc-addr rpc-auth '
            arguments=''
            ;;
        query)
            flags=(-0 -expect -fields -format -no-ack -node -relay-factor -strict -tag -timeout -rpc-addr -rpc-auth)
            takes=' expect fields format node relay-factor tag timeout rpc-addr rpc-auth '
            arguments='other'
            ;;
        reachability)
            flags=(-format -strict -verbose -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments=''
            ;;
        rtt)
            flags=(-format -rpc-addr -rpc-auth)
            takes=' format rpc-addr rpc-auth '
            arguments='nodes'
            ;;
        tags)
            flags=(-delete -format -set -rpc-addr -rpc-auth)
            takes=' delete format set rpc-addr rpc-auth '
            arguments=''
            ;;
        version)
            flags=(-format)
            takes=' format '
            arguments=''
            ;;
        wait)
            flags=(-0 -count -fields -format -name -retry -status -tag -timeout -rpc-addr -rpc-auth)
            takes=' count fields format name status tag timeout rpc-addr rpc-auth '
            arguments='nodes'
            ;;
        # End of what comes from the table.
        *) return ;;
    esac

    # Flags end at the first argument. Is the current word the value of the one before?
    local name='' open=1 value=$cur agent=()
    for ((index = first; index < last; index++)); do
        word=${words[index]}
        name=''
        case $word in
            -- | - | [!-]* | '') open='' && break ;;
            -rpc-*=* | --rpc-*=*) agent+=("$word") ;;
            *=*) ;;
            *)
                name=${word#-} name=${name#-}
                [[ $takes == *" $name "* ]] || name=''
                [[ -z $name ]] || ((++index))
                [[ $name != rpc-* ]] || ((index >= last)) || agent+=("$word" "${words[index]}")
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
        elif [[ -n $arguments && $arguments != other ]]; then
            "_cottar_$arguments" "$cur"
        fi
        return
    fi
    case "$path $name" in
        # From the table of flags, by "make completions":
        'agent config-dir') _cottar_files -d "$value" ;;
        'agent config-file') _cottar_files -f "$value" ;;
        'agent event-handler') _cottar_files -f "$value" ;;
        'agent handler-dir') _cottar_files -d "$value" ;;
        'agent iface') _cottar_interfaces "$value" ;;
        'agent journal') _cottar_files -d "$value" ;;
        'agent keyring-file') _cottar_files -f "$value" ;;
        'agent log-level') _cottar_words "$value" TRACE DEBUG INFO WARN ERR ;;
        'agent mdns-iface') _cottar_interfaces "$value" ;;
        'agent profile') _cottar_words "$value" lan wan local ;;
        'agent protocol') _cottar_words "$value" 2 3 4 5 ;;
        'agent snapshot') _cottar_files -f "$value" ;;
        'agent tags-file') _cottar_files -f "$value" ;;
        'event format') _cottar_words "$value" text json ;;
        'force-leave format') _cottar_words "$value" text json ;;
        'handler check format') _cottar_words "$value" text json ;;
        'handler drop format') _cottar_words "$value" text json ;;
        'handler list format') _cottar_words "$value" text json ;;
        'handler pause format') _cottar_words "$value" text json ;;
        'handler queue format') _cottar_words "$value" text json ;;
        'handler resume format') _cottar_words "$value" text json ;;
        'handler run format') _cottar_words "$value" text json ;;
        'handler run payload') _cottar_files -f "$value" ;;
        'handler sync format') _cottar_words "$value" text json ;;
        'handler test config-file') _cottar_files -f "$value" ;;
        'handler test format') _cottar_words "$value" text json ;;
        'handler test payload') _cottar_files -f "$value" ;;
        'info format') _cottar_words "$value" text json ;;
        'join format') _cottar_words "$value" text json ;;
        'keygen format') _cottar_words "$value" text json ;;
        'keys format') _cottar_words "$value" text json ;;
        'keys remove') _cottar_keys "$value" ;;
        'keys use') _cottar_keys "$value" ;;
        'leave format') _cottar_words "$value" text json ;;
        'members fields') _cottar_list "$value" name addr ip port status tags protocol ;;
        'members format') _cottar_words "$value" text json ;;
        'members name') _cottar_nodes "$value" ;;
        'members status') _cottar_words "$value" alive leaving left failed ;;
        'members tag') _cottar_filters "$value" ;;
        'monitor event') _cottar_list "$value" member-join member-leave member-failed member-update member-reap user query ;;
        'monitor format') _cottar_words "$value" text json ;;
        'monitor log-level') _cottar_words "$value" TRACE DEBUG INFO WARN ERR ;;
        'query expect') _cottar_words "$value" all ;;
        'query fields') _cottar_list "$value" node payload ack ;;
        'query format') _cottar_words "$value" text json ;;
        'query node') _cottar_nodes "$value" ;;
        'query tag') _cottar_filters "$value" ;;
        'reachability format') _cottar_words "$value" text json ;;
        'rtt format') _cottar_words "$value" text json ;;
        'tags delete') _cottar_tags "$value" ;;
        'tags format') _cottar_words "$value" text json ;;
        'tags set') _cottar_settings "$value" ;;
        'version format') _cottar_words "$value" text json ;;
        'wait fields') _cottar_list "$value" name addr ip port status tags protocol ;;
        'wait format') _cottar_words "$value" text json ;;
        'wait name') _cottar_nodes "$value" ;;
        'wait status') _cottar_words "$value" alive leaving left failed ;;
        'wait tag') _cottar_filters "$value" ;;
        # End of what comes from the table.
    esac
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

# What a running agent knows, if it says so at once: its members, handlers, keys and tags.
_cottar_ask() {
    timeout 1 "${words[0]}" "$@" ${agent[@]+"${agent[@]}"} </dev/null 2>/dev/null
}

_cottar_nodes() {
    _cottar_lines "$1" < <(_cottar_ask members -fields name)
}

_cottar_handlers() {
    _cottar_lines "$1" < <(_cottar_ask handler list | sed '1d; s/  .*//')
}

_cottar_keys() {
    _cottar_lines "$1" < <(_cottar_ask keys -list | sed -n 's,^\([A-Za-z0-9+/]*=*\)  \[.*,\1,p')
}

# Those of the agent itself.
_cottar_tags() {
    _cottar_lines "$1" < <(_cottar_ask info | sed -n '/^tags:/,$ s/^[[:blank:]]\([^=]*\) = .*/\1/p')
}

_cottar_settings() {
    _cottar_lines "$1" < <(_cottar_ask info | sed -n '/^tags:/,$ s/^[[:blank:]]\([^=]*\) = .*/\1=/p')
    compopt -o nospace 2>/dev/null
}

# Those of all members.
_cottar_filters() {
    _cottar_lines "$1" < <(_cottar_ask members -fields tags | tr , '\n' | sed -n 's/^\([^=]*=\).*/\1/p' | sort -u)
    compopt -o nospace 2>/dev/null
}

# Proposes those of the lines that begin with the argument, as the shell has to read them.
_cottar_lines() {
    local found line quoted=()
    mapfile -t found
    for line in "${found[@]}"; do
        printf -v line %q "$line"
        quoted+=("$line")
    done
    _cottar_words "$1" ${quoted[@]+"${quoted[@]}"}
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
