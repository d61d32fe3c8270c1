/* Tells a service manager (systemd, Type=notify) how the server is; does nothing where none asked. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/* "READY=1", "STOPPING=1", …: see sd_notify(3). */
void notify_service_manager(const char *state);

#endif
