/*
 * Part of the static binary only. The C library would load the modules of /etc/nsswitch.conf, which are made for the C
 * library of the machine, and the program would end with SIGFPE or SIGSEGV at the first host name. So names of hosts
 * are looked up in /etc/hosts and by DNS, and users in /etc/passwd, without modules.
 */
#include <nss.h>

__attribute__((constructor)) static void without_modules(void) {
    static const char *const databases[] = {"passwd", "group", "services", "protocols", "networks"};
    __nss_configure_lookup("hosts", "files dns");
    for (unsigned i = 0; i < sizeof databases / sizeof *databases; i++)
        __nss_configure_lookup(databases[i], "files");
}
