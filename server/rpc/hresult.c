#include "server/rpc/hresult.h"

uint32_t
hresult_of_status(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return HRESULT_OK;
    case STATUS_INVALID_ARGUMENT:
    case STATUS_OUT_OF_RANGE:
        return HRESULT_INVALID_ARGUMENT;
    case STATUS_DEADLINE_EXCEEDED:
        return HRESULT_TIMEOUT;
    case STATUS_NOT_FOUND:
        return HRESULT_SYSTEM_NOT_FOUND;
    case STATUS_ALREADY_EXISTS:
        return HRESULT_SYSTEM_ALREADY_EXISTS;
    case STATUS_FAILED_PRECONDITION:
        return HRESULT_INVALID_STATE;
    case STATUS_UNIMPLEMENTED:
        return HRESULT_NOT_IMPLEMENTED;
    default:
        return HRESULT_FAIL;
    }
}
