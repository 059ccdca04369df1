# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_routor_global_optspecs
    string join \n config= state= color= v/verbose q/quiet h/help V/version
end

function __fish_routor_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_routor_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_routor_using_subcommand
    set -l cmd (__fish_routor_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c routor -n "__fish_routor_needs_command" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_needs_command" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_needs_command" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_needs_command" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_needs_command" -s V -l version -d 'Print version'
complete -c routor -n "__fish_routor_needs_command" -f -a "serve" -d 'Check the providers, then serve the proxy until stopped'
complete -c routor -n "__fish_routor_needs_command" -f -a "check" -d 'Check which providers can be used; the exit code tells'
complete -c routor -n "__fish_routor_needs_command" -f -a "chat" -d 'Send one prompt through the failover chain and print the completion'
complete -c routor -n "__fish_routor_needs_command" -f -a "logs" -d 'Show past requests, and follow fallbacks as they happen'
complete -c routor -n "__fish_routor_needs_command" -f -a "status" -d 'Show whether the daemon runs and how its providers are'
complete -c routor -n "__fish_routor_needs_command" -f -a "models" -d 'Show what can be asked for'
complete -c routor -n "__fish_routor_needs_command" -f -a "config" -d 'Make or show the configuration'
complete -c routor -n "__fish_routor_needs_command" -f -a "stop" -d 'Stop the daemon'
complete -c routor -n "__fish_routor_needs_command" -f -a "reload" -d 'Make the daemon read its configuration and key files again'
complete -c routor -n "__fish_routor_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c routor -n "__fish_routor_using_subcommand serve" -l listen -d 'The address to listen on, instead of the configuration\'s' -r
complete -c routor -n "__fish_routor_using_subcommand serve" -s p -l port -d 'The loopback port to listen on; 0 takes a free one' -r
complete -c routor -n "__fish_routor_using_subcommand serve" -l wait -d 'When no provider can be used, ask again every 5 s, for so long (without a time: until one can)' -r
complete -c routor -n "__fish_routor_using_subcommand serve" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand serve" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand serve" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand serve" -l demo -d 'Serve three simulated providers, of which the first fails; no key is needed'
complete -c routor -n "__fish_routor_using_subcommand serve" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand serve" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand check" -l provider -d 'Check only this provider (may be given several times)' -r
complete -c routor -n "__fish_routor_using_subcommand check" -l format -d 'How to print the result' -r -f -a "table\t'For people'
json\t'For scripts'
junit\t'JUnit XML, for CI servers'
github\t'Workflow commands, for GitHub Actions'"
complete -c routor -n "__fish_routor_using_subcommand check" -l without -d 'Also tell which chains would still have an answer without this provider (may be given several times)' -r
complete -c routor -n "__fish_routor_using_subcommand check" -l timeout -d 'How long a provider may take to answer [default: 5s]' -r
complete -c routor -n "__fish_routor_using_subcommand check" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand check" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand check" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand check" -l live -d 'Also make one small real call to each provider, which it bills'
complete -c routor -n "__fish_routor_using_subcommand check" -l strict -d 'Fail on warnings too'
complete -c routor -n "__fish_routor_using_subcommand check" -l allow-missing -d 'A provider without a key is a warning, not a failure'
complete -c routor -n "__fish_routor_using_subcommand check" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand check" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand chat" -s m -l model -d 'A model, a tier, an alias, or auto' -r
complete -c routor -n "__fish_routor_using_subcommand chat" -s t -l tier -d 'The tier whose chain is asked: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX' -r
complete -c routor -n "__fish_routor_using_subcommand chat" -s s -l system -d 'Instructions for the model, before the prompt' -r
complete -c routor -n "__fish_routor_using_subcommand chat" -s f -l file -d 'A text file to put behind the prompt (may be given several times)' -r -F
complete -c routor -n "__fish_routor_using_subcommand chat" -l max-tokens -d 'The most tokens to answer with' -r
complete -c routor -n "__fish_routor_using_subcommand chat" -l temperature -d 'How freely the model chooses its words' -r
complete -c routor -n "__fish_routor_using_subcommand chat" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand chat" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand chat" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand chat" -l no-stream -d 'Print the answer when it is whole, not as it comes'
complete -c routor -n "__fish_routor_using_subcommand chat" -l no-stdin -d 'Do not read standard input'
complete -c routor -n "__fish_routor_using_subcommand chat" -l json -d 'Print the provider\'s whole answer as JSON'
complete -c routor -n "__fish_routor_using_subcommand chat" -l explain -d 'Print the routing decision and ask nobody'
complete -c routor -n "__fish_routor_using_subcommand chat" -l demo -d 'Ask three simulated providers, of which the first fails'
complete -c routor -n "__fish_routor_using_subcommand chat" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand chat" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand chat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand logs" -s n -d 'How many of the newest to show' -r
complete -c routor -n "__fish_routor_using_subcommand logs" -l since -d 'Only what is not older than this, such as 10m or 2h' -r
complete -c routor -n "__fish_routor_using_subcommand logs" -l provider -d 'Only requests that tried this provider' -r
complete -c routor -n "__fish_routor_using_subcommand logs" -l model -d 'Only requests that asked for or tried this model' -r
complete -c routor -n "__fish_routor_using_subcommand logs" -l id -d 'Only the request with this id' -r
complete -c routor -n "__fish_routor_using_subcommand logs" -l format -d 'How to print them' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c routor -n "__fish_routor_using_subcommand logs" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand logs" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand logs" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand logs" -s f -l follow -d 'Go on with what happens now'
complete -c routor -n "__fish_routor_using_subcommand logs" -l all -d 'All requests, not only those in which a fallback happened'
complete -c routor -n "__fish_routor_using_subcommand logs" -l failed -d 'Only requests that failed or broke off'
complete -c routor -n "__fish_routor_using_subcommand logs" -l json -d 'The same as --format json'
complete -c routor -n "__fish_routor_using_subcommand logs" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand logs" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand status" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand status" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand status" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand status" -l json -d 'Print it as JSON'
complete -c routor -n "__fish_routor_using_subcommand status" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand status" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand models" -l provider -d 'Only models of this provider' -r
complete -c routor -n "__fish_routor_using_subcommand models" -s t -l tier -d 'Only models of this tier: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX' -r
complete -c routor -n "__fish_routor_using_subcommand models" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand models" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand models" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand models" -l all -d 'Also what is known and cannot be asked for now'
complete -c routor -n "__fish_routor_using_subcommand models" -l json -d 'Print it as JSON'
complete -c routor -n "__fish_routor_using_subcommand models" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand models" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand models" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -f -a "init" -d 'Write a commented starter file, with the providers whose keys are set'
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -f -a "show" -d 'Print the effective configuration, and where each value comes from'
complete -c routor -n "__fish_routor_using_subcommand config; and not __fish_seen_subcommand_from init show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -l force -d 'Replace a file that is there'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -l stdout -d 'Print it and write nothing'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from show" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "init" -d 'Write a commented starter file, with the providers whose keys are set'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Print the effective configuration, and where each value comes from'
complete -c routor -n "__fish_routor_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c routor -n "__fish_routor_using_subcommand stop" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand stop" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand stop" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand stop" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand stop" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand reload" -l config -d 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform\'s configuration folder]' -r -F
complete -c routor -n "__fish_routor_using_subcommand reload" -l state -d 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform\'s place]' -r -F
complete -c routor -n "__fish_routor_using_subcommand reload" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c routor -n "__fish_routor_using_subcommand reload" -s v -l verbose -d 'Say more (-vv: everything)'
complete -c routor -n "__fish_routor_using_subcommand reload" -s q -l quiet -d 'Say only what went wrong'
complete -c routor -n "__fish_routor_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "serve" -d 'Check the providers, then serve the proxy until stopped'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "check" -d 'Check which providers can be used; the exit code tells'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "chat" -d 'Send one prompt through the failover chain and print the completion'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "logs" -d 'Show past requests, and follow fallbacks as they happen'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "status" -d 'Show whether the daemon runs and how its providers are'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "models" -d 'Show what can be asked for'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "config" -d 'Make or show the configuration'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "stop" -d 'Stop the daemon'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "reload" -d 'Make the daemon read its configuration and key files again'
complete -c routor -n "__fish_routor_using_subcommand help; and not __fish_seen_subcommand_from serve check chat logs status models config stop reload help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c routor -n "__fish_routor_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "init" -d 'Write a commented starter file, with the providers whose keys are set'
complete -c routor -n "__fish_routor_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Print the effective configuration, and where each value comes from'
