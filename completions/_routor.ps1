
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'routor' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'routor'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'routor' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Check the providers, then serve the proxy until stopped')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check which providers can be used; the exit code tells')
            [CompletionResult]::new('chat', 'chat', [CompletionResultType]::ParameterValue, 'Send one prompt through the failover chain and print the completion')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Show past requests, and follow fallbacks as they happen')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show whether the daemon runs and how its providers are')
            [CompletionResult]::new('models', 'models', [CompletionResultType]::ParameterValue, 'Show what can be asked for')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Make or show the configuration')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop the daemon')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Make the daemon read its configuration and key files again')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'routor;serve' {
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'The address to listen on, instead of the configuration''s')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'The loopback port to listen on; 0 takes a free one')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'The loopback port to listen on; 0 takes a free one')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'When no provider can be used, ask again every 5 s, for so long (without a time: until one can)')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--demo', '--demo', [CompletionResultType]::ParameterName, 'Serve three simulated providers, of which the first fails; no key is needed')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;check' {
            [CompletionResult]::new('--provider', '--provider', [CompletionResultType]::ParameterName, 'Check only this provider (may be given several times)')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print the result')
            [CompletionResult]::new('--without', '--without', [CompletionResultType]::ParameterName, 'Also tell which chains would still have an answer without this provider (may be given several times)')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long a provider may take to answer [default: 5s]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--live', '--live', [CompletionResultType]::ParameterName, 'Also make one small real call to each provider, which it bills')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Fail on warnings too')
            [CompletionResult]::new('--allow-missing', '--allow-missing', [CompletionResultType]::ParameterName, 'A provider without a key is a warning, not a failure')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;chat' {
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'A model, a tier, an alias, or auto')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'A model, a tier, an alias, or auto')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'The tier whose chain is asked: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX')
            [CompletionResult]::new('--tier', '--tier', [CompletionResultType]::ParameterName, 'The tier whose chain is asked: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Instructions for the model, before the prompt')
            [CompletionResult]::new('--system', '--system', [CompletionResultType]::ParameterName, 'Instructions for the model, before the prompt')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'A text file to put behind the prompt (may be given several times)')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'A text file to put behind the prompt (may be given several times)')
            [CompletionResult]::new('--max-tokens', '--max-tokens', [CompletionResultType]::ParameterName, 'The most tokens to answer with')
            [CompletionResult]::new('--temperature', '--temperature', [CompletionResultType]::ParameterName, 'How freely the model chooses its words')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--no-stream', '--no-stream', [CompletionResultType]::ParameterName, 'Print the answer when it is whole, not as it comes')
            [CompletionResult]::new('--no-stdin', '--no-stdin', [CompletionResultType]::ParameterName, 'Do not read standard input')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the provider''s whole answer as JSON')
            [CompletionResult]::new('--explain', '--explain', [CompletionResultType]::ParameterName, 'Print the routing decision and ask nobody')
            [CompletionResult]::new('--demo', '--demo', [CompletionResultType]::ParameterName, 'Ask three simulated providers, of which the first fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;logs' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'How many of the newest to show')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only what is not older than this, such as 10m or 2h')
            [CompletionResult]::new('--provider', '--provider', [CompletionResultType]::ParameterName, 'Only requests that tried this provider')
            [CompletionResult]::new('--model', '--model', [CompletionResultType]::ParameterName, 'Only requests that asked for or tried this model')
            [CompletionResult]::new('--id', '--id', [CompletionResultType]::ParameterName, 'Only the request with this id')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print them')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Go on with what happens now')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Go on with what happens now')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'All requests, not only those in which a fallback happened')
            [CompletionResult]::new('--failed', '--failed', [CompletionResultType]::ParameterName, 'Only requests that failed or broke off')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'The same as --format json')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;status' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print it as JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;models' {
            [CompletionResult]::new('--provider', '--provider', [CompletionResultType]::ParameterName, 'Only models of this provider')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Only models of this tier: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX')
            [CompletionResult]::new('--tier', '--tier', [CompletionResultType]::ParameterName, 'Only models of this tier: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Also what is known and cannot be asked for now')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print it as JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;config' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Write a commented starter file, with the providers whose keys are set')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the effective configuration, and where each value comes from')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'routor;config;init' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace a file that is there')
            [CompletionResult]::new('--stdout', '--stdout', [CompletionResultType]::ParameterName, 'Print it and write nothing')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;config;show' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;config;help' {
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Write a commented starter file, with the providers whose keys are set')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the effective configuration, and where each value comes from')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'routor;config;help;init' {
            break
        }
        'routor;config;help;show' {
            break
        }
        'routor;config;help;help' {
            break
        }
        'routor;stop' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;reload' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more (-vv: everything)')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say only what went wrong')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'routor;help' {
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Check the providers, then serve the proxy until stopped')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check which providers can be used; the exit code tells')
            [CompletionResult]::new('chat', 'chat', [CompletionResultType]::ParameterValue, 'Send one prompt through the failover chain and print the completion')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Show past requests, and follow fallbacks as they happen')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show whether the daemon runs and how its providers are')
            [CompletionResult]::new('models', 'models', [CompletionResultType]::ParameterValue, 'Show what can be asked for')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Make or show the configuration')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop the daemon')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Make the daemon read its configuration and key files again')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'routor;help;serve' {
            break
        }
        'routor;help;check' {
            break
        }
        'routor;help;chat' {
            break
        }
        'routor;help;logs' {
            break
        }
        'routor;help;status' {
            break
        }
        'routor;help;models' {
            break
        }
        'routor;help;config' {
            [CompletionResult]::new('init', 'init', [CompletionResultType]::ParameterValue, 'Write a commented starter file, with the providers whose keys are set')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the effective configuration, and where each value comes from')
            break
        }
        'routor;help;config;init' {
            break
        }
        'routor;help;config;show' {
            break
        }
        'routor;help;stop' {
            break
        }
        'routor;help;reload' {
            break
        }
        'routor;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
