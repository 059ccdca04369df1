
use builtin;
use str;

set edit:completion:arg-completer[routor] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'routor'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'routor'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand serve 'Check the providers, then serve the proxy until stopped'
            cand check 'Check which providers can be used; the exit code tells'
            cand chat 'Send one prompt through the failover chain and print the completion'
            cand logs 'Show past requests, and follow fallbacks as they happen'
            cand status 'Show whether the daemon runs and how its providers are'
            cand models 'Show what can be asked for'
            cand config 'Make or show the configuration'
            cand stop 'Stop the daemon'
            cand reload 'Make the daemon read its configuration and key files again'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'routor;serve'= {
            cand --listen 'The address to listen on, instead of the configuration''s'
            cand -p 'The loopback port to listen on; 0 takes a free one'
            cand --port 'The loopback port to listen on; 0 takes a free one'
            cand --wait 'When no provider can be used, ask again every 5 s, for so long (without a time: until one can)'
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand --demo 'Serve three simulated providers, of which the first fails; no key is needed'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;check'= {
            cand --provider 'Check only this provider (may be given several times)'
            cand --format 'How to print the result'
            cand --without 'Also tell which chains would still have an answer without this provider (may be given several times)'
            cand --timeout 'How long a provider may take to answer [default: 5s]'
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand --live 'Also make one small real call to each provider, which it bills'
            cand --strict 'Fail on warnings too'
            cand --allow-missing 'A provider without a key is a warning, not a failure'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;chat'= {
            cand -m 'A model, a tier, an alias, or auto'
            cand --model 'A model, a tier, an alias, or auto'
            cand -t 'The tier whose chain is asked: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX'
            cand --tier 'The tier whose chain is asked: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX'
            cand -s 'Instructions for the model, before the prompt'
            cand --system 'Instructions for the model, before the prompt'
            cand -f 'A text file to put behind the prompt (may be given several times)'
            cand --file 'A text file to put behind the prompt (may be given several times)'
            cand --max-tokens 'The most tokens to answer with'
            cand --temperature 'How freely the model chooses its words'
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand --no-stream 'Print the answer when it is whole, not as it comes'
            cand --no-stdin 'Do not read standard input'
            cand --json 'Print the provider''s whole answer as JSON'
            cand --explain 'Print the routing decision and ask nobody'
            cand --demo 'Ask three simulated providers, of which the first fails'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;logs'= {
            cand -n 'How many of the newest to show'
            cand --since 'Only what is not older than this, such as 10m or 2h'
            cand --provider 'Only requests that tried this provider'
            cand --model 'Only requests that asked for or tried this model'
            cand --id 'Only the request with this id'
            cand --format 'How to print them'
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand -f 'Go on with what happens now'
            cand --follow 'Go on with what happens now'
            cand --all 'All requests, not only those in which a fallback happened'
            cand --failed 'Only requests that failed or broke off'
            cand --json 'The same as --format json'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;status'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand --json 'Print it as JSON'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;models'= {
            cand --provider 'Only models of this provider'
            cand -t 'Only models of this tier: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX'
            cand --tier 'Only models of this tier: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX'
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand --all 'Also what is known and cannot be asked for now'
            cand --json 'Print it as JSON'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;config'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand init 'Write a commented starter file, with the providers whose keys are set'
            cand show 'Print the effective configuration, and where each value comes from'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'routor;config;init'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand --force 'Replace a file that is there'
            cand --stdout 'Print it and write nothing'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;config;show'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;config;help'= {
            cand init 'Write a commented starter file, with the providers whose keys are set'
            cand show 'Print the effective configuration, and where each value comes from'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'routor;config;help;init'= {
        }
        &'routor;config;help;show'= {
        }
        &'routor;config;help;help'= {
        }
        &'routor;stop'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;reload'= {
            cand --config 'The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform''s configuration folder]'
            cand --state 'The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform''s place]'
            cand --color 'When to use colour'
            cand -v 'Say more (-vv: everything)'
            cand --verbose 'Say more (-vv: everything)'
            cand -q 'Say only what went wrong'
            cand --quiet 'Say only what went wrong'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'routor;help'= {
            cand serve 'Check the providers, then serve the proxy until stopped'
            cand check 'Check which providers can be used; the exit code tells'
            cand chat 'Send one prompt through the failover chain and print the completion'
            cand logs 'Show past requests, and follow fallbacks as they happen'
            cand status 'Show whether the daemon runs and how its providers are'
            cand models 'Show what can be asked for'
            cand config 'Make or show the configuration'
            cand stop 'Stop the daemon'
            cand reload 'Make the daemon read its configuration and key files again'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'routor;help;serve'= {
        }
        &'routor;help;check'= {
        }
        &'routor;help;chat'= {
        }
        &'routor;help;logs'= {
        }
        &'routor;help;status'= {
        }
        &'routor;help;models'= {
        }
        &'routor;help;config'= {
            cand init 'Write a commented starter file, with the providers whose keys are set'
            cand show 'Print the effective configuration, and where each value comes from'
        }
        &'routor;help;config;init'= {
        }
        &'routor;help;config;show'= {
        }
        &'routor;help;stop'= {
        }
        &'routor;help;reload'= {
        }
        &'routor;help;help'= {
        }
    ]
    $completions[$command]
}
