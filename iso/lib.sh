# Helpers of build.sh.

# words prints the first word of each line of the files given, without comments.
words() { sed -e 's/#.*//' -e 's/[[:space:]].*//' -e '/^$/d' "$@"; }

# set_times gives everything below a directory the same time.
set_times() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

# overlay_files copies a tree over another. Modes are made anew: a checkout's depend on the umask it was made with.
overlay_files() {
    local path
    (cd "$1" && find . -type f) | sort | while read -r path; do
        if [ -x "$1/$path" ]; then
            install -m 755 -D "$1/$path" "$2/$path"
        else
            install -m 644 -D "$1/$path" "$2/$path"
        fi
    done
}

# trim_root removes from a root what a node never uses, and what would differ from build to build.
trim_root() {
    (
        cd "$1"
        # Perl is in every Debian for dpkg and debconf, which have done their work.
        rm -rf usr/bin/perl* usr/share/perl* usr/lib/*/perl* usr/lib/*/libperl.so* etc/perl
        rm -rf usr/bin/{dpkg*,apt*,debconf*,pzstd,ssh-agent,ssh-add,localedef,deb-systemd-*} usr/sbin/dpkg* usr/lib/dpkg etc/apt etc/dpkg
        rm -rf usr/lib/*/{libdb-*,gconv,e2fsprogs,audit,security,krb5} usr/lib/apt usr/lib/openssh/ssh-{keysign,pkcs11-helper,sk-helper}
        # Libraries that no program here is linked with, or only one that is gone.
        rm -rf usr/lib/*/lib{stdc++,mvec,brotlienc,fido2,cbor,formw,menuw,panelw,c_malloc_debug,memusage,pcprofile,thread_db,nss_hesiod,nss_compat,BrokenLocale,drop_ambient}[.-]*
        rm -rf usr/share/{bash-completion,fish,perl5,common-licenses/GFDL*,debconf,debianutils,doc-base,i18n,info,lintian,locale,man,menu,pixmaps,polkit-1,zsh,gcc,bug,apparmor,initramfs-tools}
        rm -rf usr/lib/systemd/system-generators usr/lib/systemd/user usr/lib/systemd/catalog usr/lib/udev etc/init.d etc/rc*.d etc/cron* etc/pam.d/* etc/update-motd.d
        rm -rf usr/lib/systemd/{systemd-networkd,systemd-networkd-wait-online,systemd-logind,systemd-homed,systemd-export,systemd-import*,systemd-pull,systemd-resolved}
        rm -rf usr/lib/systemd/systemd-{battery-check,bsod,hostnamed,localed,timedated,measure,pcr*,ssh-proxy,storagetm,tpm2-setup} etc/ssh/ssh_config.d/*systemd* usr/lib/tmpfiles.d/20-systemd-{shell-extra,ssh-generator,stub}.conf
        rm -rf usr/share/ca-certificates # the bundle in /etc is what programs read
        rm -f etc/ssl/certs/*.pem etc/ssl/certs/*.0 etc/motd etc/machine-id etc/hostname etc/resolv.conf etc/.pwd.lock etc/*- etc/ssh/ssh_host_* var/lib/dbus/machine-id
        rm -rf boot/* tmp/* run/* var/{cache,log,tmp,backups,spool}/* var/lib/{apt,systemd,pam,ucf,vim}
        # Scanners of images know Debian by this file.
        find var/lib/dpkg -mindepth 1 ! -name status -delete
        mkdir -p -m 755 dev proc sys run mnt
        find . -type f -perm /6000 -exec chmod u-s,g-s {} + # nobody but root is ever here
    )
}

# publish puts the image in place, the stamp last: whatever is cut short is built again.
publish() {
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    rm -f "$2.inputs"
    cp "$1" "$2.new"
    mv "$2.new" "$2"
    echo "$digest  $(basename "$2")" >"$2.sha256.new"
    mv "$2.sha256.new" "$2.sha256"
    echo "$3" >"$2.inputs"
    echo "$2: $(($(stat -c %s "$2") / 1000000)) MB, sha256 $digest"
}
