// /api/v1/departments: the tree that clients show their people in.
#include <nlohmann/json.hpp>

#include "gateway/admin_api.h"
#include "gateway/api_fields.h"
#include "gateway/http_gateway.h"

namespace ringtalk::gateway {
namespace {

using nlohmann::json;

constexpr TextRule kDepartmentName{.characters_min = 1, .characters_max = 64};

json department_json(const store::Department& department) {
  return {{"id", department.id},
          {"name", department.name},
          {"parent", department.parent},
          {"priority", department.priority},
          {"status", department.status}};
}

}  // namespace

void AdminApi::list_departments(const Call& call) {
  Query query(call.request.query);
  if (const std::string wrong = query.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  check(call.connection,
        store().list_departments(
            /*stamp=*/0, store::kDepartmentsMax,
            [this, connection = call.connection](Result<store::DepartmentPage> found) {
              if (!found) return fail(connection, found.error());
              json list = json::array();
              for (const store::Department& department : found->departments)
                list.push_back(department_json(department));
              respond(connection, 200, json{{"departments", std::move(list)}});
            }));
}

void AdminApi::add_department(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  store::NewDepartment department;
  fields.require("name");
  department.name     = fields.text("name", kDepartmentName).value_or("");
  department.parent   = fields.number("parent").value_or(0);
  department.priority = fields.number("priority").value_or(0);
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  check(call.connection, store().add_department(
                             std::move(department),
                             [this, connection = call.connection](Result<store::Department> added) {
                               answer_department(connection, 201, added);
                             }));
}

void AdminApi::patch_department(const Call& call) {
  const ParsedJson body = parse_object(call.request.body);
  if (!body.wrong.empty()) return fail(call.connection, 400, body.wrong);
  Fields fields(body.value);
  store::DepartmentPatch patch;
  patch.name     = fields.text("name", kDepartmentName);
  patch.parent   = fields.number("parent");
  patch.priority = fields.number("priority");
  if (const std::string wrong = fields.wrong(); !wrong.empty())
    return fail(call.connection, 400, wrong);
  if (body.value.empty()) return fail(call.connection, 400, "body: names no field to change");
  check(call.connection, store().update_department(call.id, std::move(patch),
                                                   [this, connection = call.connection](
                                                       Result<store::Department> updated) {
                                                     answer_department(connection, 200, updated);
                                                   }));
}

void AdminApi::answer_department(uint64_t connection, unsigned status,
                                 const Result<store::Department>& department) {
  if (department) return respond(connection, status, department_json(*department));
  if (department.error().code == Errc::refused)
    return fail(connection, 409,
                "refused: no such parent, or it is below the department, or there are too many");
  fail(connection, department.error());
}

void AdminApi::remove_department(const Call& call) {
  check(call.connection, store().remove_department(call.id, [this, connection = call.connection](
                                                                Result<void> removed) {
    if (removed) return respond(connection, 200, json::object());
    if (removed.error().code == Errc::exists)
      return fail(connection, 409, "active users or departments are in it");
    fail(connection, removed.error());
  }));
}

}  // namespace ringtalk::gateway
