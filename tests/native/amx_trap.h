// Runs the instructions themselves on a machine without tiles: each raises SIGILL, is decoded from its bytes,
// handed to amx_tiles_model.h, and stepped over. So the code that ships is what is tested, operands included.
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "amx_tiles_model.h"

namespace amx_trap {

// The operands of a VEX instruction in the 0F38 map: a register, a register or memory, a register.
struct Instruction {
  uint8_t prefix;  // 0 none, 1 66, 2 F3, 3 F2
  uint8_t opcode;
  int reg;
  int rm;  // -1: memory
  int vvvv;
  uintptr_t base;  // with displacement
  uint64_t index;
  size_t length;
};

inline uint64_t register_value(const ucontext_t& context, int number) {
  constexpr int kPlaces[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return static_cast<uint64_t>(context.uc_mcontext.gregs[kPlaces[number]]);
}

inline int64_t displacement(const uint8_t* bytes, size_t size) {
  int32_t wide = 0;
  if (size == 1) wide = static_cast<int8_t>(bytes[0]);
  if (size == 4) memcpy(&wide, bytes, sizeof(wide));
  return wide;
}

inline void decode_memory(const ucontext_t& context, const uint8_t* code, Instruction& found) {
  const int mod = code[4] >> 6;
  const int high_base = (code[1] & 0x20) != 0 ? 0 : 8;
  const int high_index = (code[1] & 0x40) != 0 ? 0 : 8;
  int base = (code[4] & 7) | high_base;
  found.length = 5;
  if ((code[4] & 7) == 4) {
    const uint8_t sib = code[found.length++];
    base = (sib & 7) | high_base;
    const int index = ((sib >> 3) & 7) | high_index;
    if (index != 4) found.index = register_value(context, index) << (sib >> 6);
  }
  amx_model::require(mod != 0 || (base & 7) != 5, "an address that this decoder does not know");
  const size_t size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  const auto offset = static_cast<uint64_t>(displacement(code + found.length, size));
  found.base = static_cast<uintptr_t>(register_value(context, base) + offset);
  found.length += size;
}

inline Instruction decode(const ucontext_t& context) {
  const auto* code = reinterpret_cast<const uint8_t*>(context.uc_mcontext.gregs[REG_RIP]);
  amx_model::require(code[0] == 0xc4 && (code[1] & 0x1f) == 2, "an illegal instruction without tiles");
  Instruction found = {};
  found.prefix = code[2] & 3;
  found.vvvv = (~code[2] >> 3) & 15;
  found.opcode = code[3];
  found.reg = (code[4] >> 3) & 7;
  found.rm = -1;
  if (code[4] >> 6 == 3) {
    found.rm = code[4] & 7;
    found.length = 5;
  } else {
    decode_memory(context, code, found);
  }
  return found;
}

inline void run(const Instruction& found) {
  const int which = found.opcode << 4 | found.prefix;
  auto* memory = reinterpret_cast<void*>(found.base);
  if (which == 0x490 && found.rm == -1) {
    // An index would be part of this address.
    amx_model::ldtilecfg(reinterpret_cast<const void*>(found.base + found.index));
  } else if (which == 0x490) {
    amx_model::tilerelease();
  } else if (which == 0x493) {
    amx_model::tilezero(found.reg);
  } else if (which == 0x4b3) {
    amx_model::tileloadd(found.reg, memory, found.index);
  } else if (which == 0x4b2) {
    amx_model::tilestored(found.reg, memory, found.index);
  } else {
    amx_model::require(which == 0x5e2, "an instruction that is not modelled");
    amx_model::tdpbsud(found.reg, found.rm, found.vvvv);
  }
}

inline void on_illegal_instruction(int, siginfo_t*, void* raw_context) {
  ucontext_t& context = *static_cast<ucontext_t*>(raw_context);
  const Instruction found = decode(context);
  run(found);
  context.uc_mcontext.gregs[REG_RIP] += static_cast<greg_t>(found.length);
}

// The process must not have asked for permission to use tiles: a CPU that has them would run them itself.
inline void install() {
  struct sigaction action = {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace amx_trap
