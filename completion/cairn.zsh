#compdef cairn
# zsh completion for cairn: commands, options, runs of the store and checkpoints of a run.

_cairn_runs() {
    local store=${opt_args[-C]:-${CAIRN_STORE:-.}}
    local -a found
    found=($store/*/run.json(N:h:t))
    compadd -a found
    found=($store/*/checkpoint-*/manifest.json(N:h))
    compadd -- ${found#$store/}
    _files -g '*.safetensors'
}

_cairn() {
    local -a commands store json
    commands=(
        'ls:list runs, or the checkpoints of a run'
        'show:what is in a checkpoint, a .safetensors file or a sharded folder'
        'verify:check every byte against its digest'
        'diff:compare two checkpoints tensor by tensor'
        'tag:put tags, a pin or late metrics on a checkpoint'
        'du:what checkpoints take on the disk'
        'keep:remove old checkpoints, keep the newest'
        'rm:remove checkpoints, or one item of them'
        'doctor:try out a folder before a long run is started there'
    )
    store=('-C[the folder that holds the runs]:store:_files -/')
    json=('--json[machine-readable output]' '--help[usage of the command]')
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C $store $json '--version[print the version]' '1:command:->command' '*::argument:->argument'
    case $state in
    command) _describe command commands ;;
    argument)
        case $line[1] in
        ls | diff | du) _arguments $store $json '*:run:_cairn_runs' ;;
        show) _arguments $store $json '--all[list every tensor]' '*:checkpoint:_cairn_runs' ;;
        verify) _arguments $store $json '--quick[manifests, sizes and headers only]' '--strict[fail on warnings]' '*:checkpoint:_cairn_runs' ;;
        tag) _arguments $store $json '--remove[take the tags off]' '--pin[keep it until unpinned]' '--unpin[no longer]' '*--metric[late metric]:NAME=VALUE:' '*:checkpoint:_cairn_runs' ;;
        keep) _arguments $store $json '--dry-run[only tell what would go]' '--last[how many stay]:number:' '*:run:_cairn_runs' ;;
        rm) _arguments $store $json '--item[only this item]:item:(optimizer)' '*:checkpoint:_cairn_runs' ;;
        doctor) _arguments $json '1:folder:_files -/' ;;
        esac
        ;;
    esac
}

_cairn "$@"
