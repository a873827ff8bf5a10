/*
 * The reference's result codes (spec/bridge.md section 7), which travel beside the gRPC status. One table
 * says which code goes with which status when the place of the failure names none.
 */
#ifndef SERVER_RPC_HRESULT_H
#define SERVER_RPC_HRESULT_H

#include <stdint.h>

#include "server/base/status.h"

#define HRESULT_OK                     UINT32_C(0)
#define HRESULT_NOT_IMPLEMENTED        UINT32_C(0x80004001) /* E_NOTIMPL */
#define HRESULT_FAIL                   UINT32_C(0x80004005) /* E_FAIL: every policy denial */
#define HRESULT_INVALID_ARGUMENT       UINT32_C(0x80070057)
#define HRESULT_ELEMENT_NOT_FOUND      UINT32_C(0x80070490) /* an unknown process */
#define HRESULT_UNSUPPORTED_VERSION    UINT32_C(0xC037010C)
#define HRESULT_TIMEOUT                UINT32_C(0xC0370109)
#define HRESULT_INVALID_MESSAGE        UINT32_C(0xC037010D) /* does not decode */
#define HRESULT_SYSTEM_NOT_FOUND       UINT32_C(0xC037010E) /* an unknown container */
#define HRESULT_SYSTEM_ALREADY_EXISTS  UINT32_C(0xC037010F)
#define HRESULT_SYSTEM_ALREADY_STOPPED UINT32_C(0xC0370110)
#define HRESULT_INVALID_STATE          UINT32_C(0x80370105)

uint32_t hresult_of_status(enum status status);

#endif
