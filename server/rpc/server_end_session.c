/* EndSession, as every server answers it. */
#include "server/rpc/request.h"
#include "server/rpc/server.h"

void
rpc_server_end_session(struct request *req)
{
    request_end_session(req);
    Gcs__V1__EndSessionResponse body = GCS__V1__END_SESSION_RESPONSE__INIT;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_END_SESSION;
    response.end_session = &body;
    request_reply(req, &response);
}
