# Completion of cottar(1) for fish.

# Whether the words before the current one are these and no others.
function __fish_cottar_is
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

# Whether they begin with these.
function __fish_cottar_begins
    set -l words (commandline -opc)
    set -l last (math 1 + (count $argv))
    set -q words[$last]; and test "$words[2..$last]" = "$argv"
end

# What a running agent knows, if it says so at once: its members, handlers, keys and tags.
function __fish_cottar_ask
    set -l words (commandline -opc)
    set -l agent
    for index in (seq (count $words))
        if string match -qr -- '^--?rpc-(addr|auth)=' $words[$index]
            set -a agent $words[$index]
        else if string match -qr -- '^--?rpc-(addr|auth)$' $words[$index]
            set -a agent $words[$index] $words[(math $index + 1)]
        end
    end
    timeout 1 $words[1] $argv $agent </dev/null 2>/dev/null
end

function __fish_cottar_nodes
    __fish_cottar_ask members -fields name
end

function __fish_cottar_handlers
    __fish_cottar_ask handler list | sed '1d; s/  .*//'
end

function __fish_cottar_keys
    __fish_cottar_ask keys -list | sed -n 's,^\([A-Za-z0-9+/]*=*\)  \[.*,\1,p'
end

# Those of the agent itself.
function __fish_cottar_tags
    __fish_cottar_ask info | sed -n '/^tags:/,$ s/^[[:blank:]]\([^=]*\) = .*/\1/p'
end

function __fish_cottar_settings
    __fish_cottar_tags | sed 's/$/=/'
end

# Those of all members.
function __fish_cottar_filters
    __fish_cottar_ask members -fields tags | tr , '\n' | sed -n 's/^\([^=]*=\).*/\1/p' | sort -u
end

complete -c cottar -f
complete -c serf -w cottar
complete -c cottar -n __fish_cottar_is -l help -d 'List the commands'
complete -c cottar -n __fish_cottar_is -l version -d 'Print the version'

# From the table of flags, by "make completions":
complete -c cottar -n __fish_cottar_is -a agent -d 'Runs an agent: a node of the cluster'
complete -c cottar -n __fish_cottar_is -a event -d 'Sends a user event to the whole cluster'
complete -c cottar -n __fish_cottar_is -a force-leave -d 'Marks a failed member as left'
complete -c cottar -n __fish_cottar_is -a handler -d 'Shows and controls an agent\'s handlers, and tries one'
complete -c cottar -n '__fish_cottar_is handler' -a check -d 'Checks directories of handlers, without an agent'
complete -c cottar -n '__fish_cottar_is handler' -a drop -d 'Drops events that wait for handlers'
complete -c cottar -n '__fish_cottar_is handler' -a list -d 'Shows an agent\'s handlers and statistics of their runs'
complete -c cottar -n '__fish_cottar_is handler' -a pause -d 'Pauses a handler'
complete -c cottar -n '__fish_cottar_is handler' -a queue -d 'Shows the events that wait for handlers'
complete -c cottar -n '__fish_cottar_is handler' -a resume -d 'Resumes a paused handler'
complete -c cottar -n '__fish_cottar_is handler' -a run -d 'Runs a handler of an agent now'
complete -c cottar -n '__fish_cottar_is handler' -a sync -d 'Runs handlers with the current members'
complete -c cottar -n '__fish_cottar_is handler' -a test -d 'Runs a handler as an agent would, without an agent'
complete -c cottar -n __fish_cottar_is -a help -d 'Lists the commands'
complete -c cottar -n __fish_cottar_is -a info -d 'Shows the version and counters of an agent'
complete -c cottar -n __fish_cottar_is -a join -d 'Makes a running agent join a cluster'
complete -c cottar -n __fish_cottar_is -a keygen -d 'Makes a new encryption key'
complete -c cottar -n __fish_cottar_is -a keys -d 'Changes or lists the encryption keys of the cluster'
complete -c cottar -n __fish_cottar_is -a leave -d 'Makes an agent leave the cluster and end'
complete -c cottar -n __fish_cottar_is -a members -d 'Lists the members of the cluster'
complete -c cottar -n __fish_cottar_is -a monitor -d 'Shows the log and the events of an agent'
complete -c cottar -n __fish_cottar_is -a query -d 'Sends a query and prints the answers'
complete -c cottar -n __fish_cottar_is -a reachability -d 'Tests whether all live members can be reached'
complete -c cottar -n __fish_cottar_is -a rtt -d 'Estimates the round-trip time between two nodes'
complete -c cottar -n __fish_cottar_is -a tags -d 'Changes the tags of a running agent'
complete -c cottar -n __fish_cottar_is -a version -d 'Prints the version'
complete -c cottar -n __fish_cottar_is -a wait -d 'Waits until members match'

# cottar agent
complete -c cottar -n '__fish_cottar_begins agent' -o advertise -x -d 'Address that this node announces to other nodes, if it differs from -bind'
complete -c cottar -n '__fish_cottar_begins agent' -o allow -x -d 'Exchange gossip only with addresses in this network, such as 192.0.2.0/24; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o bind -x -d 'Address for gossip, over UDP and TCP'
complete -c cottar -n '__fish_cottar_begins agent' -o broadcast-timeout -x -d 'Maximum time for a leave, a forced leave or a change of tags to spread'
complete -c cottar -n '__fish_cottar_begins agent' -o check -d 'Check flags and files without starting: print all errors; exit with 0 if the agent would start, else with 1'
complete -c cottar -n '__fish_cottar_begins agent' -o config-dir -x -a '(__fish_complete_directories)' -d 'Read all configuration files in this directory whose names end in \'.json\'; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o config-file -r -F -d 'Read this configuration file; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o disable-compression -d 'Send gossip uncompressed'
complete -c cottar -n '__fish_cottar_begins agent' -o discover -x -d 'Discover nodes of the cluster with this name on the local network by mDNS'
complete -c cottar -n '__fish_cottar_begins agent' -o encrypt -x -d 'Encrypt gossip with this key: 16, 24 or 32 bytes in base64'
complete -c cottar -n '__fish_cottar_begins agent' -o event-handler -r -F -d 'Shell script to run for events; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o handler-dir -x -a '(__fish_complete_directories)' -d 'Also run the executable files in this directory that have header lines; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o handler-grace -x -d 'How long the next handler waits while background processes of a finished one hold its output open'
complete -c cottar -n '__fish_cottar_begins agent' -o handler-leave-wait -x -d 'How long a leave waits for the handlers of the node\'s own member-leave'
complete -c cottar -n '__fish_cottar_begins agent' -o handler-timeout -x -d 'Time limit of a handler, which then gets SIGTERM, and SIGKILL 2s later; 0 means no limit'
complete -c cottar -n '__fish_cottar_begins agent' -o iface -x -a '(__fish_print_interfaces)' -d 'Bind to the address of this network interface'
complete -c cottar -n '__fish_cottar_begins agent' -o join -x -d 'Node to join at the start; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o journal -x -a '(__fish_complete_directories)' -d 'Keep user events in this directory until all handlers have run for them, so that they survive the end of the agent'
complete -c cottar -n '__fish_cottar_begins agent' -o journal-size-limit -x -d 'Maximum size of -journal in bytes'
complete -c cottar -n '__fish_cottar_begins agent' -o keyring-file -r -F -d 'Keep the keys of gossip encryption in this file, which must exist'
complete -c cottar -n '__fish_cottar_begins agent' -o label -x -d 'Label of this cluster\'s gossip, at most 255 bytes; gossip with another label or none is refused'
complete -c cottar -n '__fish_cottar_begins agent' -o log-level -x -a 'TRACE DEBUG INFO WARN ERR' -d 'Minimum level of log lines: TRACE, DEBUG, INFO, WARN or ERR'
complete -c cottar -n '__fish_cottar_begins agent' -o mdns-disable-ipv4 -d 'Do not use IPv4 for -discover'
complete -c cottar -n '__fish_cottar_begins agent' -o mdns-disable-ipv6 -d 'Do not use IPv6 for -discover'
complete -c cottar -n '__fish_cottar_begins agent' -o mdns-iface -x -a '(__fish_print_interfaces)' -d 'Network interface for -discover'
complete -c cottar -n '__fish_cottar_begins agent' -o node -x -d 'Name of this node, unique in the cluster'
complete -c cottar -n '__fish_cottar_begins agent' -o profile -x -a 'lan wan local' -d 'Set of protocol timings: \'lan\', \'wan\' or \'local\''
complete -c cottar -n '__fish_cottar_begins agent' -o protocol -x -a '2 3 4 5' -d 'Serf protocol version, 2 to 5'
complete -c cottar -n '__fish_cottar_begins agent' -o rejoin -d 'Rejoin the cluster from the snapshot even after a leave'
complete -c cottar -n '__fish_cottar_begins agent' -o replay -d 'Also handle user events from before the join'
complete -c cottar -n '__fish_cottar_begins agent' -o retry-interval -x -d 'Time between attempts of -retry-join, at least 1s'
complete -c cottar -n '__fish_cottar_begins agent' -o retry-join -x -d 'Node to join in the background; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o retry-max -x -d 'Number of retries after which -retry-join gives up and the agent ends; 0 means no limit'
complete -c cottar -n '__fish_cottar_begins agent' -o role -x -d 'Value of the tag \'role\''
complete -c cottar -n '__fish_cottar_begins agent' -o rpc-addr -x -d 'Address on which the agent serves RPC, HOST:PORT or unix:PATH; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o snapshot -r -F -d 'Keep members and clocks in this file, to rejoin the cluster after a restart'
complete -c cottar -n '__fish_cottar_begins agent' -o syslog -d 'Also log to syslog'
complete -c cottar -n '__fish_cottar_begins agent' -o tag -x -d 'Tag of this node; may be given several times'
complete -c cottar -n '__fish_cottar_begins agent' -o tags-file -r -F -d 'Keep the tags in this file'

# cottar event
complete -c cottar -n '__fish_cottar_begins event' -a '-coalesce=false' -d 'Let receivers merge events with this name within a short time'
complete -c cottar -n '__fish_cottar_begins event' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins event' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins event' -o rpc-auth -x -d 'Key for RPC'

# cottar force-leave
complete -c cottar -n '__fish_cottar_begins force-leave' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins force-leave' -o prune -d 'Also remove the member from the list'
complete -c cottar -n '__fish_cottar_begins force-leave' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins force-leave' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins force-leave' -a '(__fish_cottar_nodes)'

# cottar handler check
complete -c cottar -n '__fish_cottar_begins handler check' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler check' -F

# cottar handler drop
complete -c cottar -n '__fish_cottar_begins handler drop' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler drop' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler drop' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins handler drop' -a '(__fish_cottar_handlers)'

# cottar handler list
complete -c cottar -n '__fish_cottar_begins handler list' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler list' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler list' -o rpc-auth -x -d 'Key for RPC'

# cottar handler pause
complete -c cottar -n '__fish_cottar_begins handler pause' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler pause' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler pause' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins handler pause' -a '(__fish_cottar_handlers)'

# cottar handler queue
complete -c cottar -n '__fish_cottar_begins handler queue' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler queue' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler queue' -o rpc-auth -x -d 'Key for RPC'

# cottar handler resume
complete -c cottar -n '__fish_cottar_begins handler resume' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler resume' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler resume' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins handler resume' -a '(__fish_cottar_handlers)'

# cottar handler run
complete -c cottar -n '__fish_cottar_begins handler run' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler run' -o ltime -x -d 'Lamport time of the user event or query'
complete -c cottar -n '__fish_cottar_begins handler run' -o payload -r -F -d 'Read the payload from this file; \'-\' is standard input'
complete -c cottar -n '__fish_cottar_begins handler run' -o quiet -d 'Show only the output of the handler'
complete -c cottar -n '__fish_cottar_begins handler run' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler run' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins handler run' -a '(__fish_cottar_handlers)'

# cottar handler sync
complete -c cottar -n '__fish_cottar_begins handler sync' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler sync' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins handler sync' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins handler sync' -a '(__fish_cottar_handlers)'

# cottar handler test
complete -c cottar -n '__fish_cottar_begins handler test' -a '-coalesce=false' -d 'Whether the user event may be coalesced; makes no difference to the handler'
complete -c cottar -n '__fish_cottar_begins handler test' -o config-file -r -F -d 'Take SCRIPT as the name of a handler in this configuration file, and apply its settings; may be given several times'
complete -c cottar -n '__fish_cottar_begins handler test' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins handler test' -o handler-grace -x -d 'How long to wait while background processes hold the output open, as for the agent'
complete -c cottar -n '__fish_cottar_begins handler test' -o handler-timeout -x -d 'Time limit of the handler, as for the agent; 0 means no limit'
complete -c cottar -n '__fish_cottar_begins handler test' -o ltime -x -d 'Lamport time of the user event or query'
complete -c cottar -n '__fish_cottar_begins handler test' -o node -x -d 'Name of the node that the handler runs on'
complete -c cottar -n '__fish_cottar_begins handler test' -o payload -r -F -d 'Read the payload from this file; \'-\' is standard input'
complete -c cottar -n '__fish_cottar_begins handler test' -o query-response-size-limit -x -d 'Maximum size of an answer message, as in the agent\'s configuration'
complete -c cottar -n '__fish_cottar_begins handler test' -o quiet -d 'Show only the output of the handler'
complete -c cottar -n '__fish_cottar_begins handler test' -o role -x -d 'Value of the node\'s tag \'role\''
complete -c cottar -n '__fish_cottar_begins handler test' -o tag -x -d 'Tag of the node; may be given several times'
complete -c cottar -n '__fish_cottar_begins handler test' -F

# cottar help

# cottar info
complete -c cottar -n '__fish_cottar_begins info' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins info' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins info' -o rpc-auth -x -d 'Key for RPC'

# cottar join
complete -c cottar -n '__fish_cottar_begins join' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins join' -o replay -d 'Also handle user events from before the join'
complete -c cottar -n '__fish_cottar_begins join' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins join' -o rpc-auth -x -d 'Key for RPC'

# cottar keygen
complete -c cottar -n '__fish_cottar_begins keygen' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''

# cottar keys
complete -c cottar -n '__fish_cottar_begins keys' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins keys' -o install -x -d 'Add this key to the keyrings of all members, which can then decrypt with it'
complete -c cottar -n '__fish_cottar_begins keys' -o list -d 'List the keys, each with the number of members that have it'
complete -c cottar -n '__fish_cottar_begins keys' -o remove -x -a '(__fish_cottar_keys)' -d 'Remove this key from the keyrings of all members; it must not be the primary key'
complete -c cottar -n '__fish_cottar_begins keys' -o use -x -a '(__fish_cottar_keys)' -d 'Make this installed key the primary key, with which members encrypt'
complete -c cottar -n '__fish_cottar_begins keys' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins keys' -o rpc-auth -x -d 'Key for RPC'

# cottar leave
complete -c cottar -n '__fish_cottar_begins leave' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins leave' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins leave' -o rpc-auth -x -d 'Key for RPC'

# cottar members
complete -c cottar -n '__fish_cottar_begins members' -o 0 -d 'With -fields: do not escape bytes, and end records with NUL instead of a newline'
complete -c cottar -n '__fish_cottar_begins members' -o detailed -d 'Also show protocol versions; for text output'
complete -c cottar -n '__fish_cottar_begins members' -o fields -x -a '(__fish_append , name addr ip port status tags protocol)' -d 'Print only these fields, separated by tabs, one line per member: name, addr, ip, port, status, tags, tag:KEY, protocol'
complete -c cottar -n '__fish_cottar_begins members' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins members' -o name -x -a '(__fish_cottar_nodes)' -d 'Only members whose name matches'
complete -c cottar -n '__fish_cottar_begins members' -o role -x -d 'Only members whose tag \'role\' matches'
complete -c cottar -n '__fish_cottar_begins members' -o status -x -a 'alive leaving left failed' -d 'Only members whose status matches: alive, leaving, left or failed'
complete -c cottar -n '__fish_cottar_begins members' -o strict -d 'Exit with 2 if no member matches'
complete -c cottar -n '__fish_cottar_begins members' -o tag -x -a '(__fish_cottar_filters)' -d 'Only members whose tag KEY matches; may be given several times: all must match'
complete -c cottar -n '__fish_cottar_begins members' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins members' -o rpc-auth -x -d 'Key for RPC'

# cottar monitor
complete -c cottar -n '__fish_cottar_begins monitor' -o count -x -d 'With -event: exit with 0 after this number of events; 0 means no limit'
complete -c cottar -n '__fish_cottar_begins monitor' -o event -x -a '(__fish_append , member-join member-leave member-failed member-update member-reap user query)' -d 'Show only events that match, and no log; may be given several times'
complete -c cottar -n '__fish_cottar_begins monitor' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins monitor' -o log-level -x -a 'TRACE DEBUG INFO WARN ERR' -d 'Minimum level of log lines, independent of the agent\'s own: TRACE, DEBUG, INFO, WARN or ERR'
complete -c cottar -n '__fish_cottar_begins monitor' -o timeout -x -d 'With -event: exit with 2 after this time; 0 means never'
complete -c cottar -n '__fish_cottar_begins monitor' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins monitor' -o rpc-auth -x -d 'Key for RPC'

# cottar query
complete -c cottar -n '__fish_cottar_begins query' -o 0 -d 'With -fields: do not escape bytes, and end records with NUL instead of a newline'
complete -c cottar -n '__fish_cottar_begins query' -o expect -x -a 'all' -d 'Stop as soon as this number of nodes has answered, or all live members that the query is addressed to'
complete -c cottar -n '__fish_cottar_begins query' -o fields -x -a '(__fish_append , node payload ack)' -d 'At the end, print these fields, separated by tabs, one line per answer: node, payload; or one line per ack: ack'
complete -c cottar -n '__fish_cottar_begins query' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins query' -o no-ack -d 'Do not ask nodes to acknowledge the query'
complete -c cottar -n '__fish_cottar_begins query' -o node -x -a '(__fish_cottar_nodes)' -d 'Send the query to this node only; may be given several times'
complete -c cottar -n '__fish_cottar_begins query' -o relay-factor -x -d 'Number of other nodes, 0 to 255, that relay copies of each answer'
complete -c cottar -n '__fish_cottar_begins query' -o strict -d 'Exit with 2 if no node answers, or fewer than -expect demands'
complete -c cottar -n '__fish_cottar_begins query' -o tag -x -a '(__fish_cottar_filters)' -d 'Send the query only to nodes with a matching tag; may be given several times: all must match'
complete -c cottar -n '__fish_cottar_begins query' -o timeout -x -d 'How long to collect answers; with 0, the agent chooses by the size of the cluster'
complete -c cottar -n '__fish_cottar_begins query' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins query' -o rpc-auth -x -d 'Key for RPC'

# cottar reachability
complete -c cottar -n '__fish_cottar_begins reachability' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins reachability' -o strict -d 'Exit with 2 instead of 1 if not exactly the live members acknowledged'
complete -c cottar -n '__fish_cottar_begins reachability' -o verbose -d 'Also show each ack and the times'
complete -c cottar -n '__fish_cottar_begins reachability' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins reachability' -o rpc-auth -x -d 'Key for RPC'

# cottar rtt
complete -c cottar -n '__fish_cottar_begins rtt' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins rtt' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins rtt' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins rtt' -a '(__fish_cottar_nodes)'

# cottar tags
complete -c cottar -n '__fish_cottar_begins tags' -o delete -x -a '(__fish_cottar_tags)' -d 'Delete this tag; may be given several times'
complete -c cottar -n '__fish_cottar_begins tags' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins tags' -o set -x -a '(__fish_cottar_settings)' -d 'Set this tag; may be given several times'
complete -c cottar -n '__fish_cottar_begins tags' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins tags' -o rpc-auth -x -d 'Key for RPC'

# cottar version
complete -c cottar -n '__fish_cottar_begins version' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''

# cottar wait
complete -c cottar -n '__fish_cottar_begins wait' -o 0 -d 'With -fields: do not escape bytes, and end records with NUL instead of a newline'
complete -c cottar -n '__fish_cottar_begins wait' -o count -x -d 'Minimum number of members that must match; 0 waits until none matches'
complete -c cottar -n '__fish_cottar_begins wait' -o fields -x -a '(__fish_append , name addr ip port status tags protocol)' -d 'Print these fields of matching members, separated by tabs, one line per member: name, addr, ip, port, status, tags, tag:KEY, protocol'
complete -c cottar -n '__fish_cottar_begins wait' -o format -x -a 'text json' -d 'Output as \'text\' or as \'json\''
complete -c cottar -n '__fish_cottar_begins wait' -o name -x -a '(__fish_cottar_nodes)' -d 'Only members whose name matches'
complete -c cottar -n '__fish_cottar_begins wait' -o retry -d 'Retry instead of failing while no agent answers, for example while it restarts'
complete -c cottar -n '__fish_cottar_begins wait' -o status -x -a 'alive leaving left failed' -d 'Only members whose status matches: alive, leaving, left or failed'
complete -c cottar -n '__fish_cottar_begins wait' -o tag -x -a '(__fish_cottar_filters)' -d 'Only members whose tag KEY matches; may be given several times: all must match'
complete -c cottar -n '__fish_cottar_begins wait' -o timeout -x -d 'How long to wait; 0 means no limit'
complete -c cottar -n '__fish_cottar_begins wait' -o rpc-addr -x -d 'RPC address of the agent, HOST:PORT or unix:PATH'
complete -c cottar -n '__fish_cottar_begins wait' -o rpc-auth -x -d 'Key for RPC'
complete -c cottar -n '__fish_cottar_begins wait' -a '(__fish_cottar_nodes)'
# End of what comes from the table.
