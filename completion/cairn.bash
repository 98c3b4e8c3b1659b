# bash completion for cairn: commands, options, runs of the store and checkpoints of a run.

_cairn_store() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -C ]; then
            printf '%s' "${COMP_WORDS[i + 1]}"
            return
        fi
    done
    printf '%s' "${CAIRN_STORE:-.}"
}

_cairn_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -C) ((i++)) ;;
        -*) ;;
        *)
            printf '%s' "${COMP_WORDS[i]}"
            return
            ;;
        esac
    done
}

_cairn() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command options store marker
    case $previous in
    -C) mapfile -t COMPREPLY < <(compgen -d -- "$current") && return ;;
    --item) mapfile -t COMPREPLY < <(compgen -W 'optimizer' -- "$current") && return ;;
    --last | --metric) return ;;
    esac
    command=$(_cairn_command)
    case $command in
    ls | diff | du) options='-C --json --help' ;;
    show) options='-C --json --all --help' ;;
    verify) options='-C --json --quick --strict --help' ;;
    tag) options='-C --remove --pin --unpin --metric --help' ;;
    keep) options='-C --json --dry-run --last --help' ;;
    rm) options='-C --item --help' ;;
    doctor) options='--json --help' ;;
    *) options='-C --json --help --version' ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    if [ -z "$command" ]; then
        mapfile -t COMPREPLY < <(compgen -W 'ls show verify diff tag du keep rm doctor' -- "$current")
        return
    fi
    if [ "$command" = doctor ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
    fi
    store=$(_cairn_store)
    # RUN, or RUN/checkpoint-N: folders that are one or hold one
    for marker in "$store/$current"*/run.json "$store/$current"*/manifest.json; do
        if [ -e "$marker" ]; then
            marker=${marker#"$store/"}
            COMPREPLY+=("${marker%/*}")
        fi
    done
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -X '!*.safetensors' -- "$current")
}

complete -o filenames -F _cairn cairn
