# bash completion for cephmonfs and mount.cephmon; made by tools/docs.py
_cephmonfs() {
    local cur prev commands options files
    commands="mount premount umount check get watch collect ceph"
    options="name= secret= secretfile= keyring= conf= mon_addr= fsid= ip= ms_mode= key_type= fs= pool= mount_timeout= statfs_timeout= stale_after= cmd_timeout= refresh= bg show_as_rw uid= gid= mode= allow_other noallow_other auto_unmount noauto_unmount run_as= log_level= foreground demo_mons= demo_seed="
    files="README status health fsid version capacity/total_bytes capacity/used_bytes capacity/avail_bytes capacity/objects capacity/used_ratio capacity/age_seconds monmap monmap.json mdsmap mdsmap.json osdmap osdmap.json maps/monmap.bin maps/mdsmap.bin maps/fsmap.bin maps/osdmap.bin epoch/monmap epoch/mdsmap epoch/fsmap epoch/osdmap epoch/mgrmap mon/count mon/quorum_count mon/leader session/state session/mon session/addr session/mode session/global_id session/since session/last_contact session/fresh session/sessions session/failovers session/last_error session/tickets session/requests session/stats session.json metrics dashboard.html debug/monc debug/monmap debug/mdsmap debug/osdmap debug/client_options debug/status events events_pipe config log"
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    # bash splits at "=": put "ms_mode=" and what follows together again
    case $prev in
        -o)
            local head="" last=$cur
            case $cur in *,*) head=${cur%,*}, last=${cur##*,} ;; esac
            mapfile -t COMPREPLY < <(compgen -P "$head" -W "$options" -- "$last")
            [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
            return
            ;;
        =)
            case ${COMP_WORDS[COMP_CWORD - 2]##*,} in
                ms_mode) mapfile -t COMPREPLY < <(compgen -W "legacy crc secure prefer-crc prefer-secure" -- "$cur") ;;
                log_level) mapfile -t COMPREPLY < <(compgen -W "debug info warning error" -- "$cur") ;;
                secretfile | keyring | conf) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
            esac
            return
            ;;
        get)
            mapfile -t COMPREPLY < <(compgen -W "$files" -- "$cur")
            return
            ;;
    esac
    if [[ $COMP_CWORD -eq 1 && ${COMP_WORDS[0]##*/} == cephmonfs ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "-o -f -s -v --help" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    fi
}
complete -F _cephmonfs cephmonfs mount.cephmon cephmon
