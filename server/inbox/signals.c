#include "server/inbox/signals.h"

#include <signal.h>

enum status
signal_number(Gcs__V1__Signal signal, int *ret, struct error *err)
{
    static const int numbers[] = {
        [GCS__V1__SIGNAL__SIGNAL_TERMINATE] = SIGKILL,   [GCS__V1__SIGNAL__SIGNAL_CTRL_C] = SIGINT,
        [GCS__V1__SIGNAL__SIGNAL_CTRL_BREAK] = SIGQUIT,  [GCS__V1__SIGNAL__SIGNAL_CTRL_CLOSE] = SIGHUP,
        [GCS__V1__SIGNAL__SIGNAL_CTRL_LOG_OFF] = SIGHUP, [GCS__V1__SIGNAL__SIGNAL_CTRL_SHUTDOWN] = SIGTERM,
    };
    if ((unsigned)signal >= sizeof numbers / sizeof numbers[0])
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "signal %d is not known", (int)signal);
    *ret = numbers[signal];
    return STATUS_OK;
}
