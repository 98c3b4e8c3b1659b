#compdef cairn
# zsh completion for cairn: commands, options, runs of the store and checkpoints of a run.

# The word behind -C into $store, if there is one, as the shell would take it: quotes off, ~ spelled out. _arguments puts a backslash before each.
_cairn_store() {
    [[ -n $opt_args[-C] ]] || return
    store=${(Q)${opt_args[-C]//(#b)\\(?)/$match[1]}}
    [[ $store == '~' || $store == '~/'* ]] && store=$HOME${store#'~'}
}

_cairn_runs() {
    local store=$before
    _cairn_store
    local -a found
    found=($store/*/run.json(N:h:t))
    compadd -a found
    found=($store/*/checkpoint-*/manifest.json(N:h))
    compadd -- ${found#$store/}
    _files -g '*.safetensors'
}

_cairn() {
    local -a commands folder json help
    commands=(
        'ls:list runs, or the checkpoints of a run'
        'show:what is in a checkpoint, a .safetensors file or a sharded folder'
        'verify:check every byte against its digest'
        'diff:compare two checkpoints tensor by tensor'
        'tag:put tags, a pin or late metrics on a checkpoint'
        'du:what checkpoints take on the disk'
        'keep:remove old checkpoints, keep the newest and the best'
        'rm:remove checkpoints, or one item of them'
        'doctor:try out a folder before a long run is started there'
    )
    folder=('-C[the folder that holds the runs]:store:_files -/')
    help=('--help[usage of the command]')
    json=('--json[machine-readable output]' $help)
    local store curcontext=$curcontext state line before=${CAIRN_STORE:-.}
    typeset -A opt_args
    _arguments -C $folder $json '-h[usage]' '--version[print the version]' '1:command:->command' '*::argument:->argument'
    store=$before
    _cairn_store
    before=$store # -C in front of the command
    case $state in
    command) _describe command commands ;;
    argument)
        case $line[1] in
        ls | du) _arguments $folder $json '*:run:_cairn_runs' ;;
        show) _arguments $folder $json '--all[list every tensor]' '*:checkpoint:_cairn_runs' ;;
        diff) _arguments $folder $json '--all[print every difference]' '--read[read and check every byte]' '*:checkpoint:_cairn_runs' ;;
        verify) _arguments $folder $json '--quick[manifests, sizes and headers only]' '--strict[fail on warnings]' '*:checkpoint:_cairn_runs' ;;
        tag) _arguments $folder $help '--remove[take the tags off]' '--pin[keep it until unpinned]' '--unpin[no longer]' '*--metric[late metric]:NAME=VALUE:' '*:checkpoint:_cairn_runs' ;;
        keep) _arguments $folder $json '(-n --dry-run)'{-n,--dry-run}'[only tell what would go]' '--last[how many of the newest stay]:number:' '--best[how many of the best stay]:number:' '--metric[that they are the best by]:name:' '--max[larger is better]' '*:run:_cairn_runs' ;;
        rm) _arguments $folder $help '--item[only this item]:item:(optimizer)' '*:checkpoint:_cairn_runs' ;;
        doctor) _arguments $json '1:folder:_files -/' ;;
        esac
        ;;
    esac
}

_cairn "$@"
