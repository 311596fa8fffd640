# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_runj_global_optspecs
    string join \n root= log= log-format= log-level= debug systemd-cgroup cgroup-manager= rootless= h/help V/version
end

function __fish_runj_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_runj_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_runj_using_subcommand
    set -l cmd (__fish_runj_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c runj -n "__fish_runj_needs_command" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_needs_command" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_needs_command" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_needs_command" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_needs_command" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_needs_command" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_needs_command" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_needs_command" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_needs_command" -s V -l version -d 'Print version'
complete -c runj -n "__fish_runj_needs_command" -f -a "create" -d 'Create a container: its jail, in which its program waits for start'
complete -c runj -n "__fish_runj_needs_command" -f -a "start" -d 'Start the program of a created container'
complete -c runj -n "__fish_runj_needs_command" -f -a "state" -d 'Show the state of a container as JSON'
complete -c runj -n "__fish_runj_needs_command" -f -a "kill" -d 'Send a signal to a container'
complete -c runj -n "__fish_runj_needs_command" -f -a "delete" -d 'Delete a stopped container and everything that was made for it'
complete -c runj -n "__fish_runj_needs_command" -f -a "run" -d 'Create, start, attend in the foreground, delete'
complete -c runj -n "__fish_runj_needs_command" -f -a "exec" -d 'Execute a program in a running container'
complete -c runj -n "__fish_runj_needs_command" -f -a "extension" -d 'The same under the names of Go runj'
complete -c runj -n "__fish_runj_needs_command" -f -a "ext" -d 'The same under the names of Go runj'
complete -c runj -n "__fish_runj_needs_command" -f -a "pause" -d 'Stop every process of a container'
complete -c runj -n "__fish_runj_needs_command" -f -a "resume" -d 'Let a paused container go on'
complete -c runj -n "__fish_runj_needs_command" -f -a "ps" -d 'List the processes of a container, as the host numbers them'
complete -c runj -n "__fish_runj_needs_command" -f -a "list" -d 'List containers'
complete -c runj -n "__fish_runj_needs_command" -f -a "gc" -d 'Release what interrupted creations and earlier boots left'
complete -c runj -n "__fish_runj_needs_command" -f -a "update" -d 'Change the limits of a container'
complete -c runj -n "__fish_runj_needs_command" -f -a "events" -d 'Show what a container uses, and when memory was short'
complete -c runj -n "__fish_runj_needs_command" -f -a "stats" -d 'Show what containers use: a table that is renewed, or JSON'
complete -c runj -n "__fish_runj_needs_command" -f -a "doctor" -d 'Look for what keeps containers from running on this machine, and say what to do'
complete -c runj -n "__fish_runj_needs_command" -f -a "features" -d 'Show what runj understands, as JSON'
complete -c runj -n "__fish_runj_needs_command" -f -a "checkpoint" -d 'Not possible: a jail\'s processes cannot be saved'
complete -c runj -n "__fish_runj_needs_command" -f -a "restore" -d 'Not possible: a jail\'s processes cannot be saved'
complete -c runj -n "__fish_runj_needs_command" -f -a "plan" -d 'Show what create would do with a bundle, for this system or the other one'
complete -c runj -n "__fish_runj_needs_command" -f -a "spec" -d 'Write a sample config.json'
complete -c runj -n "__fish_runj_needs_command" -f -a "demo" -d 'Bundles to try things with'
complete -c runj -n "__fish_runj_using_subcommand create" -s b -l bundle -d 'The bundle\'s directory [default: the current one]' -r -F
complete -c runj -n "__fish_runj_using_subcommand create" -l console-socket -d 'Socket that the terminal is sent to' -r -F
complete -c runj -n "__fish_runj_using_subcommand create" -l pid-file -d 'File that the pid is written to' -r -F
complete -c runj -n "__fish_runj_using_subcommand create" -l jail-name -d 'What the jail is named after, where one id may be used twice on a host [default: the id]' -r
complete -c runj -n "__fish_runj_using_subcommand create" -l preserve-fds -d 'Number of descriptors from 3 on that the program gets' -r
complete -c runj -n "__fish_runj_using_subcommand create" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand create" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand create" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand create" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand create" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand create" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand create" -l no-pivot -d 'Ignored'
complete -c runj -n "__fish_runj_using_subcommand create" -l no-new-keyring -d 'Ignored'
complete -c runj -n "__fish_runj_using_subcommand create" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand create" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand start" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand start" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand start" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand start" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand start" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand start" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand start" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand start" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand state" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand state" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand state" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand state" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand state" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand state" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand state" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand state" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand state" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand kill" -s p -l pid -d 'Send it to one process of the container, as the host numbers it' -r
complete -c runj -n "__fish_runj_using_subcommand kill" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand kill" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand kill" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand kill" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand kill" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand kill" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand kill" -s a -l all -d 'Send it to every process of the container'
complete -c runj -n "__fish_runj_using_subcommand kill" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand kill" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand delete" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand delete" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand delete" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand delete" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand delete" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand delete" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand delete" -s f -l force -d 'Kill it first if it is alive; one that does not exist is no error'
complete -c runj -n "__fish_runj_using_subcommand delete" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand delete" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand run" -s b -l bundle -d 'The bundle\'s directory [default: the current one]' -r -F
complete -c runj -n "__fish_runj_using_subcommand run" -l console-socket -d 'Socket that the terminal is sent to' -r -F
complete -c runj -n "__fish_runj_using_subcommand run" -l pid-file -d 'File that the pid is written to' -r -F
complete -c runj -n "__fish_runj_using_subcommand run" -l jail-name -d 'What the jail is named after, where one id may be used twice on a host [default: the id]' -r
complete -c runj -n "__fish_runj_using_subcommand run" -l preserve-fds -d 'Number of descriptors from 3 on that the program gets' -r
complete -c runj -n "__fish_runj_using_subcommand run" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand run" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand run" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand run" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand run" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand run" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand run" -l no-pivot -d 'Ignored'
complete -c runj -n "__fish_runj_using_subcommand run" -l no-new-keyring -d 'Ignored'
complete -c runj -n "__fish_runj_using_subcommand run" -s d -l detach -d 'Return when the program was executed'
complete -c runj -n "__fish_runj_using_subcommand run" -l keep -d 'Leave the stopped container'
complete -c runj -n "__fish_runj_using_subcommand run" -l no-subreaper -d 'Ignored: the program is a child of runj as it is'
complete -c runj -n "__fish_runj_using_subcommand run" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand run" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand exec" -s p -l process -d 'Read the program from FILE, an object like process in config.json' -r -F
complete -c runj -n "__fish_runj_using_subcommand exec" -s e -l env -d 'Set a variable of its environment' -r
complete -c runj -n "__fish_runj_using_subcommand exec" -l cwd -d 'Its working directory' -r -F
complete -c runj -n "__fish_runj_using_subcommand exec" -s u -l user -d 'Its user' -r
complete -c runj -n "__fish_runj_using_subcommand exec" -l pid-file -d 'File that the pid is written to' -r -F
complete -c runj -n "__fish_runj_using_subcommand exec" -l console-socket -d 'Socket that the terminal is sent to' -r -F
complete -c runj -n "__fish_runj_using_subcommand exec" -l preserve-fds -d 'Number of descriptors from 3 on that it gets' -r
complete -c runj -n "__fish_runj_using_subcommand exec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand exec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand exec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand exec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand exec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand exec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand exec" -s t -l tty -d 'Give it a terminal'
complete -c runj -n "__fish_runj_using_subcommand exec" -s d -l detach -d 'Return when it was executed'
complete -c runj -n "__fish_runj_using_subcommand exec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand exec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand extension; and not __fish_seen_subcommand_from exec" -f -a "exec" -d 'Execute a program in a running container'
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -s p -l process -d 'Read the program from FILE, an object like process in config.json' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -s e -l env -d 'Set a variable of its environment' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l cwd -d 'Its working directory' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -s u -l user -d 'Its user' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l pid-file -d 'File that the pid is written to' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l console-socket -d 'Socket that the terminal is sent to' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l preserve-fds -d 'Number of descriptors from 3 on that it gets' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -s t -l tty -d 'Give it a terminal'
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -s d -l detach -d 'Return when it was executed'
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand extension; and __fish_seen_subcommand_from exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand ext; and not __fish_seen_subcommand_from exec" -f -a "exec" -d 'Execute a program in a running container'
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -s p -l process -d 'Read the program from FILE, an object like process in config.json' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -s e -l env -d 'Set a variable of its environment' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l cwd -d 'Its working directory' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -s u -l user -d 'Its user' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l pid-file -d 'File that the pid is written to' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l console-socket -d 'Socket that the terminal is sent to' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l preserve-fds -d 'Number of descriptors from 3 on that it gets' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -s t -l tty -d 'Give it a terminal'
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -s d -l detach -d 'Return when it was executed'
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand ext; and __fish_seen_subcommand_from exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand pause" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand pause" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand pause" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand pause" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand pause" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand pause" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand pause" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand pause" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand resume" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand resume" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand resume" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand resume" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand resume" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand resume" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand resume" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand resume" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand ps" -s f -l format -d 'How processes are shown; json is their pids alone' -r -f -a "table\t'Columns'
json\t'An array'"
complete -c runj -n "__fish_runj_using_subcommand ps" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand ps" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand ps" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand ps" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand ps" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand ps" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand ps" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand ps" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand list" -s f -l format -d 'How containers are shown' -r -f -a "table\t'Columns'
json\t'An array'"
complete -c runj -n "__fish_runj_using_subcommand list" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand list" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand list" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand list" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand list" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand list" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand list" -s q -l quiet -d 'Show ids alone'
complete -c runj -n "__fish_runj_using_subcommand list" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand list" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand gc" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand gc" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand gc" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand gc" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand gc" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand gc" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand gc" -s n -l dry-run -d 'Say what would be released, and release nothing'
complete -c runj -n "__fish_runj_using_subcommand gc" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand gc" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand update" -s r -l resources -d 'Read limits from FILE (- is standard input), an object like linux.resources in config.json; other options of limits are ignored then, as by runc' -r -F
complete -c runj -n "__fish_runj_using_subcommand update" -l memory -d 'Memory: bytes, or a number with k, m, g, t; -1 lifts the limit' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l memory-swap -d 'Memory and swap together, not less than the memory; -1 lifts the limit' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l pids-limit -d 'Number of processes; -1 lifts the limit' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-quota -d 'CPU time in a period, in microseconds; -1 lifts the limit' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-period -d 'The period, in microseconds [default: 100000]' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpus -d 'Number of processors\' worth of CPU time, as 1.5' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpuset-cpus -d 'The processors that may be used, as 0-3,7' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l rctl -d 'A rule of rctl(8) without its subject, as openfiles:deny=64 or vmemoryuse:log=2g; the amount -1 lifts it. May be repeated. On Linux only what a cgroup can do: memoryuse:sigkill, maxproc:deny, pcpu:deny' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l blkio-weight -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-burst -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-idle -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-rt-period -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-rt-runtime -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpu-share -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cpuset-mems -r
complete -c runj -n "__fish_runj_using_subcommand update" -l kernel-memory -r
complete -c runj -n "__fish_runj_using_subcommand update" -l kernel-memory-tcp -r
complete -c runj -n "__fish_runj_using_subcommand update" -l l3-cache-schema -r
complete -c runj -n "__fish_runj_using_subcommand update" -l mem-bw-schema -r
complete -c runj -n "__fish_runj_using_subcommand update" -l memory-reservation -r
complete -c runj -n "__fish_runj_using_subcommand update" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand update" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand update" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand update" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand update" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand update" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand events" -l interval -d 'How often figures are shown, as 500ms, 5s or 1m30s' -r
complete -c runj -n "__fish_runj_using_subcommand events" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand events" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand events" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand events" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand events" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand events" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand events" -l stats -d 'Show figures once'
complete -c runj -n "__fish_runj_using_subcommand events" -l oom -d 'Show once how many processes the kernel killed because memory was short, also of a container that has stopped; null where it does not tell (FreeBSD)'
complete -c runj -n "__fish_runj_using_subcommand events" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand events" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand stats" -l interval -d 'How long figures are taken for, as 500ms, 5s or 1m30s' -r
complete -c runj -n "__fish_runj_using_subcommand stats" -s f -l format -d 'How figures are shown; json is an array for each interval' -r -f -a "table\t'Columns'
json\t'An array'"
complete -c runj -n "__fish_runj_using_subcommand stats" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand stats" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand stats" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand stats" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand stats" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand stats" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand stats" -l no-stream -d 'Show figures once, after one interval'
complete -c runj -n "__fish_runj_using_subcommand stats" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand stats" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand doctor" -s f -l format -d 'How findings are shown' -r -f -a "table\t'Columns'
json\t'An array'"
complete -c runj -n "__fish_runj_using_subcommand doctor" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand doctor" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand doctor" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand doctor" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand doctor" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand doctor" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand doctor" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand doctor" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand features" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand features" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand features" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand features" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand features" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand features" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand features" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand features" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand features" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand checkpoint" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand restore" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand restore" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand restore" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand restore" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand restore" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand restore" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand restore" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand restore" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand plan" -s f -l format -d 'How the plan is shown' -r -f -a "json\t'The stored form'
text\t'The commands that a person would type'"
complete -c runj -n "__fish_runj_using_subcommand plan" -s s -l system -d 'The system to plan for [default: this one]' -r -f -a "freebsd\t'A plain FreeBSD 14.0, or this machine if it is one'
linux\t'The emulation'"
complete -c runj -n "__fish_runj_using_subcommand plan" -l facts -d 'Plan for the machine that these facts describe, as --show-facts prints them' -r -F
complete -c runj -n "__fish_runj_using_subcommand plan" -l id -d 'The id that the container would have' -r
complete -c runj -n "__fish_runj_using_subcommand plan" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand plan" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand plan" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand plan" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand plan" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand plan" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand plan" -l show-facts -d 'Print the facts that would be planned for, and no plan'
complete -c runj -n "__fish_runj_using_subcommand plan" -s e -l explain -d 'Say of each property of the bundle whether it is applied, ignored or refused, and as what or why'
complete -c runj -n "__fish_runj_using_subcommand plan" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand plan" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand spec" -s b -l bundle -d 'Directory to write it to [default: the current one]' -r -F
complete -c runj -n "__fish_runj_using_subcommand spec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand spec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand spec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand spec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand spec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand spec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand spec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand spec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand spec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -f -a "spec" -d 'Write a sample config.json'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -f -a "bundle" -d 'Make a bundle that runs at once, from static programs of this host or from a root file system'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -f -a "download" -d 'Fetch FreeBSD\'s base system or an official image, and verify it'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -f -a "oci-image" -d 'Make an OCI image of a root file system'
complete -c runj -n "__fish_runj_using_subcommand demo; and not __fish_seen_subcommand_from spec bundle download oci-image unpack" -f -a "unpack" -d 'Make a bundle of an OCI image'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -s b -l bundle -d 'Directory to write it to [default: the current one]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from spec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l rootfs -d 'Root file system: an archive, which is unpacked (root only), or a directory, which is used where it is' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l max-size -d 'Largest file system that is accepted, decompressed' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -s q -l quiet -d 'Print nothing but errors'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from bundle" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -s m -l machine -d 'Machine: amd64, arm64, ... [default: this one, on FreeBSD]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -s a -l architecture -d 'Processor: amd64, aarch64, ... [default: this one, on FreeBSD]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -s v -l version -d 'Version with its branch, like 14.3-RELEASE or 15.0-CURRENT [default: this one, on FreeBSD]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l mirror -d 'Server to be used instead of FreeBSD\'s; it has the directories releases, snapshots, old-releases' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l tls-roots -d 'Whose certificates are trusted' -r -f -a "auto\t'The system\'s, or Mozilla\'s where the system has none'
system\t'The system\'s (SSL_CERT_FILE and SSL_CERT_DIR name others)'
bundled\t'Mozilla\'s, as they were when runj was built'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -s o -l output -d 'File to be written [default: rootfs.txz, for images image.txz]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l image -d 'Fetch this official image (static, dynamic, runtime, ...) instead of the base system' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -s q -l quiet -d 'Print nothing but errors'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from download" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s i -l input -d 'Archive of the root file system' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s m -l machine -d 'Machine: amd64, arm64, ... [default: this one, on FreeBSD]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s a -l architecture -d 'Processor: amd64, aarch64, ... [default: this one, on FreeBSD]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s v -l version -d 'Version with its branch, like 14.3-RELEASE or 15.0-CURRENT [default: this one, on FreeBSD]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l mirror -d 'Server to be used instead of FreeBSD\'s; it has the directories releases, snapshots, old-releases' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l tls-roots -d 'Whose certificates are trusted' -r -f -a "auto\t'The system\'s, or Mozilla\'s where the system has none'
system\t'The system\'s (SSL_CERT_FILE and SSL_CERT_DIR name others)'
bundled\t'Mozilla\'s, as they were when runj was built'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s o -l output -d 'Image archive to be written' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l name -d 'Name of the image [default: localhost/freebsd:VERSION, or localhost/freebsd:latest]' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l compression -d 'Compression of the layer' -r -f -a "gzip\t'gzip, which every engine reads'
zstd\t'zstd, for containerd 1.5 and podman 3 or newer'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l max-size -d 'Largest file system that is accepted, decompressed' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s q -l quiet -d 'Print nothing but errors'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from oci-image" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l name -d 'Image in an archive of several' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l max-size -d 'Largest file system that is accepted, decompressed' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l root -d 'Directory for the state of containers' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l log -d 'File that log lines are appended to [default: standard error]' -r -F
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l log-format -d 'Form of log lines' -r -f -a "text\t'`time="…" level=… msg="…"`'
json\t'`{"level":"…","msg":"…","time":"…"}`'"
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l log-level -d 'Least important lines that are logged: error, warn, info, debug, trace' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l cgroup-manager -d 'Ignored: for callers that know cgroups' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l rootless -d 'Ignored: runj needs root' -r
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -s q -l quiet -d 'Print nothing but errors'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l debug -d 'Log everything'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -l systemd-cgroup -d 'Ignored: for callers that know cgroups'
complete -c runj -n "__fish_runj_using_subcommand demo; and __fish_seen_subcommand_from unpack" -s h -l help -d 'Print help (see more with \'--help\')'
