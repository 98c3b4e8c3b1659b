# bash completion for cairn: commands, options, runs of the store and checkpoints of a run. Words are taken as the shell would take them: quotes and
# backslashes off, ~ in front spelled out.

_cairn_plain() { # _cairn_plain WORD: into $plain; of a word that is not finished, too
    local word=$1 quote='' letter i
    plain=
    for ((i = 0; i < ${#word}; i++)); do
        letter=${word:i:1}
        if [[ $letter = "$quote" ]]; then
            quote=
        elif [[ -z $quote && ($letter = \' || $letter = \") ]]; then
            quote=$letter
        elif [[ $letter = \\ && $quote != \' ]]; then
            i=$((i + 1))
            plain+=${word:i:1}
        else
            plain+=$letter
        fi
    done
    case $word in
    '~') plain=$HOME ;;
    '~'/*) plain=$HOME/${plain#'~/'} ;;
    esac
}

_cairn_store() { # into $store
    local i plain
    store=${CAIRN_STORE:-.}
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -C ]; then
            _cairn_plain "${COMP_WORDS[i + 1]}"
            store=${plain:-.}
        fi
    done
}

_cairn_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -C | --item | --last | --best | --metric) ((i++)) ;;
        -*) ;;
        *)
            printf '%s' "${COMP_WORDS[i]}"
            return
            ;;
        esac
    done
}

# compgen's answers to the plain word, with ~ in front where it was written so.
_cairn_files() { # _cairn_files WORD COMPGEN-OPTION...
    local word=$1 plain answer
    shift
    _cairn_plain "$word"
    while IFS= read -r answer; do
        case $word in '~'*) answer="~${answer#"$HOME"}" ;; esac
        COMPREPLY+=("$answer")
    done < <(compgen "$@" -- "$plain")
}

# RUN, or RUN/checkpoint-N: folders that are one or hold one
_cairn_runs() { # _cairn_runs WORD
    local store plain marker
    _cairn_store
    _cairn_plain "$1"
    for marker in "$store/$plain"*/run.json "$store/$plain"*/manifest.json; do
        if [ -e "$marker" ]; then
            marker=${marker#"$store/"}
            COMPREPLY+=("${marker%/*}")
        fi
    done
}

_cairn() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command options
    COMPREPLY=()
    case $previous in
    -C) _cairn_files "$current" -d && return ;;
    --item) mapfile -t COMPREPLY < <(compgen -W 'optimizer' -- "$current") && return ;;
    --last | --best | --metric) return ;;
    esac
    command=$(_cairn_command)
    case $command in
    ls | du) options='-C --json --help' ;;
    show) options='-C --json --all --help' ;;
    diff) options='-C --json --all --read --help' ;;
    verify) options='-C --json --quick --strict --help' ;;
    tag) options='-C --remove --pin --unpin --metric --help' ;;
    keep) options='-C --json -n --dry-run --last --best --metric --max --help' ;;
    rm) options='-C --item --help' ;;
    doctor) options='--json --help' ;;
    *) options='-C --json -h --help --version' ;;
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
        _cairn_files "$current" -d
        return
    fi
    _cairn_runs "$current"
    _cairn_files "$current" -f -X '!*.safetensors'
}

complete -o filenames -F _cairn cairn
